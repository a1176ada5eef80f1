"""Results for format tests: random ones by hypothesis, one fixed one, and equality that says what differs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from apps.verbs import convert
from vis import masks
from vis.structures import Tube, VideoInfo, VideoResult

SIZE = (12, 17)


def build(
    objects: list[tuple[int, list[int], np.ndarray]],
    frames: int,
    *,
    names: tuple[str, ...] = ("object",),
    **how: Any,
) -> VideoResult:
    """(id, frames, bool (L, H, W)) as a result with tight boxes and scores of 1."""
    tubes = []
    for identity, at, stack in objects:
        rle = masks.encode_many(stack)
        boxes = np.stack([masks.bounding_box(mask) for mask in rle])
        label = how.get("labels", {}).get(identity, 0)
        score = how.get("scores", {}).get(identity, 1.0)
        per_frame = np.full(len(at), score, np.float32)
        tubes.append(Tube(identity, label, score, np.array(at, np.int64), boxes, per_frame, rle))
    return VideoResult(
        VideoInfo("clip", *SIZE, num_frames=frames),
        names,
        tuple(sorted(tubes, key=lambda tube: tube.id)),
        np.arange(frames, dtype=np.int64),
        np.arange(frames, dtype=np.float64),
    )


@st.composite
def results(draw: st.DrawFn, *, overlap: bool = True, max_id: int = 40) -> VideoResult:
    """A video of a few frames with up to four objects of random pixels, none of them empty."""
    count = draw(st.integers(1, 5))
    ids = draw(st.lists(st.integers(1, max_id), min_size=1, max_size=4, unique=True))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    free = np.ones((count, *SIZE), np.bool_)
    objects = []
    for identity in sorted(ids):
        at = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count)))
        stack = rng.random((len(at), *SIZE)) < draw(st.floats(0.05, 0.6))
        stack[:, rng.integers(SIZE[0]), rng.integers(SIZE[1])] = True
        if not overlap:
            stack &= free[at]
            free[at] &= ~stack
        keep = stack.any(axis=(1, 2))
        if keep.any():
            objects.append((identity, [f for f, k in zip(at, keep, strict=True) if k], stack[keep]))
    return build(objects, count)


@pytest.fixture(scope="session")
def make_results() -> Callable[..., st.SearchStrategy[VideoResult]]:
    return results


@pytest.fixture(scope="session")
def make_result() -> Callable[..., VideoResult]:
    return build


@pytest.fixture
def busy() -> VideoResult:
    """Two classes, scores of their own, loose boxes, a late object, a gap: all that a format may lose."""
    rng = np.random.default_rng(5)
    first = rng.random((4, *SIZE)) < 0.5
    second = rng.random((2, *SIZE)) < 0.5
    result = build(
        [(3, [0, 1, 2, 4], first), (7, [2, 3], second)],
        6,
        names=("dog", "=cat"),
        labels={7: 1},
        scores={3: 0.75, 7: 0.5},
    )
    loose = tuple(
        replace(
            tube,
            boxes=tube.boxes - np.float32(0.37),
            scores=np.linspace(0.1, 0.9, len(tube)).astype(np.float32),
        )
        for tube in result.tubes
    )
    info = replace(result.video, fps=12.5, num_frames=6)
    return replace(result, video=info, tubes=loose, pts_seconds=np.arange(6) / 12.5 + 0.125)


def _same(got: VideoResult, want: VideoResult, *without: str) -> None:
    """Fail with the first thing that differs; ``without`` names what the format does not hold."""
    assert [t.id for t in got.tubes] == [t.id for t in want.tubes]
    assert got.video.size == want.video.size
    if "frames" not in without:
        np.testing.assert_array_equal(got.frames, want.frames)
    if "times" not in without:
        np.testing.assert_array_equal(got.pts_seconds, want.pts_seconds)
    for mine, theirs in zip(got.tubes, want.tubes, strict=True):
        np.testing.assert_array_equal(mine.frames, theirs.frames)
        if "masks" not in without:
            assert mine.masks == theirs.masks
        if "boxes" not in without:
            np.testing.assert_array_equal(mine.boxes, theirs.boxes)
        if "scores" not in without:
            assert mine.score == theirs.score
            np.testing.assert_array_equal(mine.scores, theirs.scores)
        if "classes" not in without:
            assert got.class_names[mine.label] == want.class_names[theirs.label]


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    return _same


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """``vistubes convert`` with --json; the summary that it prints."""

    def run(*words: object) -> Any:
        parser = argparse.ArgumentParser()
        convert.configure(parser)
        capsys.readouterr()
        assert convert.run(parser.parse_args([*map(str, words), "--overwrite", "--json"])) == 0
        return json.loads(capsys.readouterr().out)

    return run

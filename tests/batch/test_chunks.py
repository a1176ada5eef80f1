"""Chunks come back to the bit, and broken ones end the list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import trackers
from apps.batch.chunks import Chunk, ChunkFolder, Row, collected
from vis import masks, pipeline
from vis.prompt_policies import HQSamRefiner
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo

SIZE = (20, 30)


def detections(rng: np.random.Generator, count: int, *, with_masks: bool = True) -> Detections:
    corner = rng.integers(0, 10, (count, 2)).astype(np.float32)
    stack = rng.random((count, *SIZE)) < 0.3 if with_masks else None
    return Detections(
        np.concatenate([corner, corner + 8], 1),
        rng.random(count).astype(np.float32),
        rng.integers(0, 2, count),
        stack,
        embeddings=rng.random((count, 8)).astype(np.float32),
    )


@pytest.mark.parametrize("name", sorted(set(trackers.TRACKERS) - {"native"}))
def test_a_tracker_goes_on_from_its_saved_state(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frames = [detections(rng, int(rng.integers(0, 4))) for _ in range(12)]
    whole, first, second = trackers.create(name), trackers.create(name), trackers.create(name)
    want = [whole.update(found, index / 10).track_ids for index, found in enumerate(frames)]
    for index, found in enumerate(frames[:6]):
        first.update(found, index / 10)
    folder = ChunkFolder(tmp_path / "video", "key")
    folder.write(0, Chunk((), first.state_dict(), None, None, {}, last=False))
    second.load_state_dict(folder.read(SIZE)[0].tracker)
    for index in range(6, 12):
        got = second.update(frames[index], index / 10)
        np.testing.assert_array_equal(got.track_ids, want[index])


class Estimating:
    """A predictor whose estimates of three masks follow from the frame and the box; it keeps what it is told."""

    def __init__(self) -> None:
        self.biases: list[np.ndarray] = []

    def embed(self, image: np.ndarray) -> int:
        return int(image[0, 0, 0])

    def decode(
        self, embedding: int, *, boxes: np.ndarray, iou_bias: np.ndarray, best_of_three: bool
    ) -> object:
        assert best_of_three
        self.biases.append(iou_bias)
        scores = np.sin(embedding + boxes[:, :3]).astype(np.float32)
        return SimpleNamespace(masks=np.zeros((len(boxes), *SIZE), np.bool_), three_scores=scores)


def test_the_refiner_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = []
    for index in range(12):
        found = detections(rng, 0 if index == 4 else 3)
        frames.append(replace(found, track_ids=np.arange(1, len(found) + 1)))

    def refine(refiner: HQSamRefiner, span: range) -> None:
        for index in span:
            refiner.refine(np.full((*SIZE, 3), index, np.uint8), frames[index])

    for cut in (0, 5, 9):  # before anything, after an empty frame, amid
        whole, first, second = (HQSamRefiner(Estimating(), multimask_selection="tube") for _ in range(3))
        refine(whole, range(12))
        refine(first, range(cut))
        folder = ChunkFolder(tmp_path / str(cut), "key")
        folder.write(0, Chunk((), None, None, first.state_dict(), {}, last=False))
        second.load_state_dict(folder.read(SIZE)[0].refiner)
        refine(second, range(cut, 12))
        assert second.counts == whole.counts
        got, want = second.predictor.biases, whole.predictor.biases
        np.testing.assert_array_equal(np.array(got), np.array(want)[-len(got) :])


def rows(rng: np.random.Generator, count: int) -> list[tuple[Row, TrackedFrame]]:
    out = []
    for index in range(count):
        found = detections(rng, 2)
        found = Detections(found.boxes, found.scores, found.labels, found.masks, np.array([1, 2 + index % 2]))
        coarse = masks.encode_many(found.masks)
        frame = Frame(3 * index, index / 7, np.zeros((*SIZE, 3), np.uint8))
        out.append((Row(frame.index, frame.pts_seconds, found, coarse, None), TrackedFrame(frame, found)))
    return out


def test_rows_collect_to_what_the_pipeline_collects(tmp_path: Path) -> None:
    pairs = rows(np.random.default_rng(0), 7)
    folder = ChunkFolder(tmp_path / "video", "key")
    for number, part in enumerate((pairs[:3], pairs[3:6], pairs[6:])):
        folder.write(
            number, Chunk(tuple(row for row, _ in part), None, None, None, {"track": 0.1}, last=number == 2)
        )
    back = [row for chunk in folder.read(SIZE) for row in chunk.rows]
    info = VideoInfo("v", *SIZE)
    got = collected(back, info, ("a", "b"), fine=False, min_frames=2)
    want = pipeline.collect((tracked for _, tracked in pairs), info, ("a", "b"), min_frames=2)
    assert [t.id for t in got.tubes] == [t.id for t in want.tubes] == [1, 2, 3]
    for mine, theirs in zip(got.tubes, want.tubes, strict=True):
        assert (mine.label, mine.score, mine.masks) == (theirs.label, theirs.score, theirs.masks)
        np.testing.assert_array_equal(mine.boxes, theirs.boxes)
        np.testing.assert_array_equal(mine.scores, theirs.scores)
    np.testing.assert_array_equal(got.pts_seconds, want.pts_seconds)


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_chunk_ends_the_list(damage: str, tmp_path: Path) -> None:
    folder = ChunkFolder(tmp_path / "video", "key")
    for number, (row, _) in enumerate(rows(np.random.default_rng(1), 3)):
        folder.write(number, Chunk((row,), None, None, None, {}, last=False))
    path = tmp_path / "video" / "key" / "000001.json"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_text('{"rows": 3}')
    assert len(folder.read(SIZE)) == 1


def test_another_key_throws_the_chunks_away(tmp_path: Path) -> None:
    ChunkFolder(tmp_path / "video", "old").write(0, Chunk((), None, None, None, {}, last=True))
    assert ChunkFolder(tmp_path / "video", "new").read(SIZE) == []
    assert not (tmp_path / "video" / "old").exists()


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds a object"):
        ChunkFolder(tmp_path / "v", "k").write(0, Chunk((), {"x": object()}, None, None, {}, last=True))


def test_state_keeps_types_and_infinities(tmp_path: Path) -> None:
    state = {
        "a": np.array([np.inf, np.nan], np.float32),
        "b": (1, [2.5, None]),
        "c": np.int64(7),
        "d": "text",
    }
    folder = ChunkFolder(tmp_path / "v", "k")
    folder.write(0, Chunk((), state, None, None, {}, last=True))
    got = folder.read(SIZE)[0].tracker
    np.testing.assert_array_equal(got["a"], state["a"])
    assert got["a"].dtype == np.float32
    assert got["b"] == (1, [2.5, None])
    assert int(got["c"]) == 7

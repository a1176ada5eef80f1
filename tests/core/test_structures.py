"""The core types check themselves, hold their laws, and print shapes instead of contents."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vis.structures import Detections, Frame, MaskRLE, TrackedFrame, Tube, VideoInfo, VideoResult


def detections(n: int = 3, *, ids: bool = True, size: tuple[int, int] | None = None) -> Detections:
    return Detections(
        boxes=np.arange(4 * n, dtype=np.float32).reshape(n, 4),
        scores=np.linspace(0, 1, n, dtype=np.float32),
        labels=np.arange(n, dtype=np.int64),
        masks=None if size is None else np.zeros((n, *size), np.bool_),
        track_ids=np.arange(1, n + 1) if ids else None,
        embeddings=np.zeros((n, 5), np.float32),
    )


def frame(index: int = 0) -> Frame:
    return Frame(index, index / 30, np.zeros((6, 8, 3), np.uint8))


def tube(**changes: object) -> Tube:
    fields: dict[str, object] = {
        "id": 1,
        "label": 0,
        "score": 0.5,
        "frames": np.array([2, 4]),
        "boxes": np.zeros((2, 4), np.float32),
        "scores": np.zeros(2, np.float32),
        "masks": None,
    }
    return Tube(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("boxes", np.zeros((2, 5), np.float64), r"boxes: expected float32\['any', 4\], got float32\[2, 5\]"),
        ("boxes", [[0, 0, 1, 1], [2, 3]], r"boxes: its rows are not alike"),
        ("boxes", [["a", "b", "c", "d"]], r"boxes: expected"),
        ("scores", np.zeros(4, np.float32), r"scores: expected float32\[3\], got float32\[4\]"),
        ("scores", np.array([0, 1, 1.1], np.float32), r"\[0, 1\]"),
        ("scores", np.array([0, 1, np.nan], np.float32), r"\[0, 1\]"),
        ("labels", np.zeros(3, np.float32), r"labels: expected int64\[3\]"),
        ("labels", [0, 1], r"labels: expected int64\[3\], got int64\[2\]"),
        ("masks", np.zeros((3, 4, 4), np.uint8), r"masks: expected bool"),
        ("track_ids", np.zeros((3, 1), np.int64), r"track_ids: expected"),
        ("embeddings", np.zeros((2, 5), np.float32), r"embeddings: expected"),
        ("boxes", np.full((3, 4), np.inf, np.float32), "not finite"),
    ],
)
def test_detections_refuse_what_does_not_fit(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(detections(), **{field: value})


def test_select_takes_the_same_rows_of_every_field() -> None:
    every = detections(4, size=(2, 3))
    for rows in (np.array([3, 1]), np.array([False, True, False, True]), np.array([], np.int64)):
        some = every.select(rows)
        for field in dataclasses.fields(Detections):
            assert np.array_equal(getattr(some, field.name), getattr(every, field.name)[rows])


def test_empty_detections_have_no_rows() -> None:
    assert len(Detections.empty()) == 0
    assert Detections.empty().boxes.shape == (0, 4)


def test_tracked_frame_wants_unique_ids_and_masks_of_its_size() -> None:
    with pytest.raises(ValueError, match="through a tracker first"):
        TrackedFrame(frame(), detections(ids=False))
    twice = dataclasses.replace(detections(2), track_ids=np.array([7, 7]))
    with pytest.raises(ValueError, match="an id twice"):
        TrackedFrame(frame(), twice)
    with pytest.raises(ValueError, match=r"masks are \(5, 8\), the frame is \(6, 8\)"):
        TrackedFrame(frame(), detections(2, size=(5, 8)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 0}, "id: expected > 0"),
        ({"frames": np.array([4, 2])}, "rise strictly"),
        ({"frames": np.array([2, 2])}, "rise strictly"),
        ({"frames": np.array([-1, 2])}, "rise strictly"),
        ({"frames": np.array([], np.int64)}, "has no frame"),
        ({"boxes": np.zeros((3, 4), np.float32)}, "boxes: expected"),
        ({"masks": (MaskRLE((2, 2), b"4"),)}, "2 frames but 1 masks"),
    ],
)
def test_tubes_refuse_what_does_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tube(**changes)


@pytest.mark.parametrize(
    ("tubes", "message"),
    [
        ((tube(id=2), tube(id=1)), "sorted by unique id"),
        ((tube(), tube()), "sorted by unique id"),
        ((tube(label=1),), "no name among 1 classes"),
        ((tube(frames=np.array([2, 5])),), "does not cover"),
        ((tube(masks=(MaskRLE((2, 2), b"4"),) * 2),), "differ from the video's"),
    ],
)
def test_results_refuse_what_does_not_fit(tubes: tuple[Tube, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoResult(VideoInfo("clip", 6, 8), ("thing",), tubes, np.array([2, 3, 4]), np.arange(3.0))


def test_reprs_show_shapes_not_contents() -> None:
    text = repr(detections(3, size=(600, 800)))
    assert "boxes=float32[3, 4]" in text
    assert "masks=bool[3, 600, 800]" in text
    assert len(text) < 250
    assert repr(MaskRLE((2, 2), b"4")) == "MaskRLE(size=(2, 2), counts=<1 bytes>)"
    assert "image=uint8[6, 8, 3]" in repr(frame())


def test_types_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame().index = 3  # type: ignore[misc]


def test_detections_take_lists_and_numbers_of_any_kind() -> None:
    from_lists = Detections(
        boxes=[[1, 2, 3.5, 4]], scores=[0.5], labels=[1], masks=[[[True, False]]], track_ids=[7]
    )
    assert {
        field: getattr(from_lists, field).dtype
        for field in ("boxes", "scores", "labels", "masks", "track_ids")
    } == {
        "boxes": np.float32,
        "scores": np.float32,
        "labels": np.int64,
        "masks": np.bool_,
        "track_ids": np.int64,
    }
    assert from_lists.boxes.tolist() == [[1, 2, 3.5, 4]]
    wide = Detections(np.ones((2, 4), np.float64), np.ones(2, np.float16), np.zeros(2, np.uint8))
    assert (wide.boxes.dtype, wide.scores.dtype, wide.labels.dtype) == (np.float32, np.float32, np.int64)
    nothing = Detections([], [], [])
    assert (len(nothing), nothing.boxes.shape) == (0, (0, 4))
    # What fits already is held as it is.
    boxes = np.ones((1, 4), np.float32)
    assert Detections(boxes, [1.0], [0]).boxes is boxes
    with pytest.raises(ValueError, match="expected values in"):
        Detections([[0, 0, 1, 1]], [1.5], [0])

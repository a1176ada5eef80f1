"""The four verbs: they compose, they stream, and what is saved comes back the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vis import masks as rle
from vis.errors import AnnotationError
from vis.formats import tubes as tubes_format
from vis.masks import decode
from vis.pipeline import collect, detect, refine, replay, track
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo, VideoResult

SIZE = (24, 32)


def frames(n: int, start: int = 0, step: int = 1) -> Iterator[Frame]:
    for k in range(n):
        index = start + k * step
        yield Frame(index, index / 10 + 0.003 * (k % 2), np.full((*SIZE, 3), k % 256, np.uint8))


class TwoObjects:
    """One object on every frame, another (of a weaker score) on every second one."""

    class_names = ("cat", "dog")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def detect(self, images: Sequence[Any]) -> list[Detections]:
        self.batches.append(len(images))
        found = []
        for image in images:
            k = int(image[0, 0, 0])
            n = 2 - k % 2
            boxes = np.array([[k, 2, k + 5, 9], [20, 10, 26, 20]], np.float32)[:n]
            scores = np.array([0.9, 0.4], np.float32)[:n]
            found.append(Detections(boxes, scores, np.array([0, 1], np.int64)[:n]))
        return found


class IdByLabel:
    def update(self, detections: Detections, pts_seconds: float) -> Detections:
        return Detections(
            detections.boxes, detections.scores, detections.labels, track_ids=detections.labels + 1
        )

    live_ids = (1, 2)

    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class BoxFiller:
    """A refiner whose mask is the box."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def refine(self, image: Any, detections: Detections) -> Detections:
        masks = np.zeros((len(detections), *image.shape[:2]), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, detections.boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return Detections(detections.boxes, detections.scores, detections.labels, masks, detections.track_ids)


INFO = VideoInfo("clip", *SIZE, num_frames=10, fps=10.0)


def make_result(n: int = 10, **options: Any) -> VideoResult:
    stream = refine(track(frames(n), TwoObjects(), IdByLabel(), **options), BoxFiller())
    return collect(stream, INFO, TwoObjects.class_names, made_with={"by": "test"})


def assert_equal(a: VideoResult, b: VideoResult) -> None:
    assert tubes_format.to_json(a) == tubes_format.to_json(b)


def test_track_refine_collect() -> None:
    result = make_result()
    cat, dog = result.tubes
    assert cat.frames.tolist() == list(range(10))
    assert dog.frames.tolist() == [0, 2, 4, 6, 8]
    assert result.class_names[dog.label] == "dog"
    assert dog.score == pytest.approx(0.4)
    assert cat.masks is not None
    assert decode(cat.masks[3])[2:9, 3:8].all()
    assert decode(cat.masks[3]).sum() == 35


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_change_nothing_but_the_calls(batch: int) -> None:
    detector = TwoObjects()
    tracked = list(track(frames(10), detector, IdByLabel(), batch=batch))
    assert max(detector.batches) == min(batch, 10)
    assert sum(detector.batches) == 10
    assert [t.frame.index for t in tracked] == list(range(10))
    assert_equal(
        collect(refine(tracked, BoxFiller()), INFO, TwoObjects.class_names, made_with={"by": "test"}),
        make_result(),
    )


def test_scores_and_labels_are_filtered_before_the_tracker() -> None:
    assert [len(t.detections) for t in track(frames(4), TwoObjects(), IdByLabel(), min_score=0.5)] == [1] * 4
    assert [len(t.detections) for t in track(frames(4), TwoObjects(), IdByLabel(), labels=[1])] == [
        1,
        0,
        1,
        0,
    ]


def test_short_tubes_are_dropped_when_collected() -> None:
    tracked = list(track(frames(10), TwoObjects(), IdByLabel()))
    result = collect(tracked, INFO, TwoObjects.class_names, min_frames=6)
    assert [tube.id for tube in result.tubes] == [1]
    assert result.tubes[0].masks is None


def test_replay_gives_back_what_was_collected() -> None:
    result = make_result()
    again = collect(replay(frames(10), result), INFO, result.class_names, made_with={"by": "test"})
    assert_equal(again, result)


def test_replay_of_run_lengths_collects_to_the_same() -> None:
    """Beside a tube of boxes only, too: its masks are empty, not missing."""
    result = make_result()
    first, *others = result.tubes
    for tubes in (result.tubes, (replace(first, masks=None), *others)):
        saved = replace(result, tubes=tubes)
        sparse = list(replay(frames(10), saved, dense=False))
        assert all(item.detections.masks is None for item in sparse)
        dense = list(replay(frames(10), saved))
        for item, whole in zip(sparse, dense, strict=True):
            masks = whole.detections.masks
            assert item.shapes == (None if masks is None else rle.encode_many(masks))
        collected = [collect(stream, INFO, result.class_names) for stream in (sparse, dense)]
        assert_equal(*collected)


def test_refining_a_replay_equals_refining_at_once() -> None:
    boxes_only = collect(
        track(frames(10), TwoObjects(), IdByLabel()), INFO, TwoObjects.class_names, made_with={"by": "test"}
    )
    later = collect(
        refine(replay(frames(10), boxes_only), BoxFiller()),
        INFO,
        boxes_only.class_names,
        made_with={"by": "test"},
    )
    assert_equal(later, make_result())


def test_replay_passes_over_frames_the_result_does_not_cover() -> None:
    result = collect(
        track(frames(4, start=3, step=2), TwoObjects(), IdByLabel()), INFO, TwoObjects.class_names
    )
    assert [item.frame.index for item in replay(frames(20), result)] == [3, 5, 7, 9]


def test_the_refiner_is_reset_once_per_video() -> None:
    refiner = BoxFiller()
    list(refine(track(frames(5), TwoObjects(), IdByLabel()), refiner))
    assert refiner.resets == 1


@pytest.mark.usefixtures("quick_collection")
def test_no_frame_outlives_its_turn() -> None:
    """Memory is bounded by the frames in hand: earlier pictures are gone while the stream runs."""
    alive: list[weakref.ref[Any]] = []

    def watched() -> Iterator[Frame]:
        for frame in frames(30):
            alive.append(weakref.ref(frame.image))
            yield frame

    most = 0
    for _ in refine(track(watched(), TwoObjects(), IdByLabel(), batch=2), BoxFiller()):
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 30
    assert most <= 5


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_saved_results_read_back_equal(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any stream of random masks, ids, scores and times survives collect -> write -> read."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(1, 5))
    stream = []
    for index, frame in enumerate(frames(count, start=data.draw(st.integers(0, 9)), step=2)):
        n = data.draw(st.integers(0, 3), label=f"objects on frame {index}")
        found = Detections(
            np.sort(rng.uniform(0, 30, (n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32),
            rng.uniform(0, 1, n).astype(np.float32),
            rng.integers(0, 2, n),
            rng.random((n, *SIZE)) < rng.random(),
            rng.choice(np.arange(1, 6), n, replace=False),
        )
        stream.append(TrackedFrame(frame, found))
    result = collect(stream, INFO, ("a", "b"), made_with={"options": {"x": [1, None, "é"]}})
    path = tmp_path_factory.mktemp("tubes") / "tubes.json"
    tubes_format.write(path, result)
    back = tubes_format.read(path)
    assert_equal(back, result)
    for ours, theirs in zip(result.tubes, back.tubes, strict=True):
        assert ours.masks == theirs.masks
        assert np.array_equal(ours.boxes, theirs.boxes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a tubes.json"),
        ({"format_version": 99}, "upgrade vis-tubes"),
        ({"class_names": []}, "no name among 0 classes"),
        ({"frames": [0, 0, 1]}, "broken tubes.json"),
        ({"tubes": [{"id": 1}]}, "tube 1: label is missing"),
        ({"video": {"name": "x"}}, "video: height is missing"),
    ],
)
def test_broken_results_are_named(change: dict[str, Any], message: str) -> None:
    value = {**tubes_format.to_json(make_result(3)), **change}
    with pytest.raises(AnnotationError, match=f"^here: .*{message}"):
        tubes_format.from_json(value, where="here")


def test_hostile_run_lengths_in_a_result_are_refused() -> None:
    value = tubes_format.to_json(make_result(3))
    for counts in ("\x01\x02", "ÿ", "0" * 10_000, "PPPP0", 7):
        value["tubes"][0]["masks"][1] = counts
        with pytest.raises(AnnotationError, match="here: tube 1, mask 1"):
            tubes_format.from_json(value, where="here")


def test_a_label_without_a_name_is_told_on_its_first_frame() -> None:
    from vis.errors import UsageError

    class Wrong:
        class_names = ("cat",)

        def detect(self, images):  # type: ignore[no-untyped-def]
            return [Detections([[0, 0, 4, 4]], [0.5], [1]) for _ in images]

    frame = Frame(3, 0.3, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(
        UsageError, match="Wrong: frame 3 has an object with label 1, and class_names has 1 names"
    ):
        detect(Wrong(), [frame])

"""What makes each tracker itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import trackers
from trackers.base import TrackStatus
from trackers.botsort import BotSortTracker
from trackers.bytetrack import ByteTracker
from trackers.mask_iou import MaskIouTracker
from trackers.native import NativeTracker
from trackers.ocsort import OcSortTracker
from trackers.query import QueryTracker
from trackers.sort import SortTracker
from vis.errors import UsageError
from vis.structures import Detections


def seen(boxes, scores=0.9, labels=0, masks=None, ids=None, looks=None) -> Detections:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(boxes)
    return Detections(
        boxes,
        np.broadcast_to(np.float32(scores), n).copy(),
        np.broadcast_to(np.int64(labels), n).copy(),
        masks,
        None if ids is None else np.asarray(ids, np.int64),
        None if looks is None else np.asarray(looks, np.float32),
    )


def box(x: float, y: float = 50, width: float = 40, height: float = 80) -> list[float]:
    return [x, y, x + width, y + height]


def ids(tracker, detections, second) -> list[int]:
    return tracker.update(detections, second).track_ids.tolist()


def test_bytetrack_weak_detections_continue_but_never_begin():
    tracker = ByteTracker()
    assert ids(tracker, seen([box(0), box(300)], [0.9, 0.3]), 0) == [1]
    assert tracker.statuses == (TrackStatus.KEPT, TrackStatus.UNMATCHED)
    for i in range(1, 4):
        assert ids(tracker, seen([box(2 * i), box(300), box(600)], [0.3, 0.3, 0.05]), i / 30) == [1]
    assert tracker.statuses == (TrackStatus.KEPT, TrackStatus.UNMATCHED, TrackStatus.WEAK)


def test_bytetrack_strong_detections_choose_first():
    """The weak one fits better, and still the strong one gets the track."""
    tracker = ByteTracker()
    ids(tracker, seen([box(0)]), 0)
    out = tracker.update(seen([box(1), box(12)], [0.4, 0.9]), 1 / 30)
    assert out.boxes[:, 0].tolist() == [12]
    assert out.track_ids.tolist() == [1]


def test_bytetrack_a_ghost_of_one_frame_ends_at_once():
    tracker = ByteTracker()
    ids(tracker, seen([box(0)]), 0)
    assert ids(tracker, seen([box(0), box(300)]), 1 / 30) == [1, 2]
    ids(tracker, seen([box(0)]), 2 / 30)
    assert tracker.live_ids == (1,), "seen once, then missed"


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_sort_predicts_through_a_gap(fps):
    """600 pixels a second: after 0.4 s the object is six widths from where it was last seen."""
    tracker, frames = SortTracker(), np.arange(0, 1.5, 1 / fps)
    for second in frames:
        if not 0.6 < second < 1.0:
            assert ids(tracker, seen([box(600 * second, width=60 + 600 / fps)]), second) == [1]


def test_ocsort_undoes_the_drift_of_blind_steps():
    """Found after gaps of two lengths, its filters are as if they had seen the straight lines."""
    blind, sighted = OcSortTracker(), OcSortTracker()
    for i in range(31):
        slow, fast = box(2 * i), box(4 * i, y=300)
        if i == 30:
            slow, fast = box(50, y=60), box(100, y=310)
        gone_slow, gone_fast = 20 < i < 30, 25 < i < 30
        boxes = [place for place, gone in ((slow, gone_slow), (fast, gone_fast)) if not gone]
        ids(blind, seen(boxes), i / 30)
        if gone_slow:
            slow = np.add(box(40), np.subtract(box(50, y=60), box(40)) * (i - 20) / 10)
        if gone_fast:
            fast = np.add(box(100, y=300), [0, 10 * (i - 25) / 5] * 2)
        ids(sighted, seen([slow, fast]), i / 30)
    assert blind.live_ids == sighted.live_ids == (1, 2)
    for name in ("position", "velocity", "position_variance", "covariance", "velocity_variance"):
        got, want = (getattr(tracker._tracks.motion, name) for tracker in (blind, sighted))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=name)


def test_ocsort_recovers_at_the_last_observation():
    """Predicted far away, found where it was last seen."""
    tracker = OcSortTracker()
    for i in range(15):
        ids(tracker, seen([box(8 * i)]), i / 30)
    for i in range(15, 30):
        ids(tracker, seen([]), i / 30)
    assert ids(tracker, seen([box(8 * 14)]), 1.0) == [1]


def test_ocsort_prefers_the_way_it_was_heading():
    """Two detections overlap the prediction equally, one ahead and one behind."""
    tracker = OcSortTracker()
    for i in range(10):
        ids(tracker, seen([box(i)]), i / 30)
    ahead, behind = box(10 + 12), box(10 - 12)
    out = tracker.update(seen([behind, ahead]), 10 / 30)
    assert dict(zip(out.boxes[:, 0].tolist(), out.track_ids.tolist(), strict=True))[ahead[0]] == 1


def test_botsort_looks_tell_two_overlapping_boxes_apart():
    looks = np.eye(2)

    def swapped_after_contact(tracker):
        for i in range(5):
            ids(tracker, seen([box(0), box(14)], looks=looks), i / 30)
        # both are pushed by 7: each box is now as near to the other's track
        return ids(tracker, seen([box(11), box(3)], looks=looks), 5 / 30)

    assert swapped_after_contact(BotSortTracker(smoothing=0.9)) == [1, 2]
    assert swapped_after_contact(BotSortTracker(max_look_distance=-1)) == [2, 1], "by overlap alone"


def test_mask_iou_tells_a_rider_from_the_horse():
    """One box around both; the masks share nothing."""
    masks = np.zeros((2, 100, 100), bool)
    masks[0, 10:40, 20:80] = True
    masks[1, 42:90, 20:80] = True
    both = [[20, 10, 80, 90]] * 2
    tracker = MaskIouTracker()
    assert ids(tracker, seen(both, masks=masks), 0) == [1, 2]
    assert ids(tracker, seen(both, masks=masks[::-1].copy()), 1 / 30) == [2, 1]


def test_minvis_is_the_best_pairing_of_cosines():
    rng = np.random.default_rng(0)
    minvis = QueryTracker(
        matching="cosine",
        memory=1,
        min_similarity=-1,
        min_cosine=-1,
        gate_overlap=None,
        min_score=0,
        new_track_thresh=0,
    )
    before, names = rng.normal(size=(8, 16)), None
    for i in range(6):
        now = rng.normal(size=(8, 16)) + before
        out = ids(minvis, seen([box(50 * k) for k in range(8)], looks=now), i / 30)
        if names is not None:
            a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (before, now))
            rows, cols = linear_sum_assignment(a @ b.T, maximize=True)
            want = dict(zip(cols.tolist(), [names[row] for row in rows], strict=True))
            assert out == [want[k] for k in range(8)]
        before, names = now, out


def test_query_bisoftmax_by_hand():
    tracker = QueryTracker(min_cosine=-1, min_similarity=0, gate_overlap=None, temperature=0.5)
    first, second = np.array([[1.0, 0], [0, 1]]), np.array([[1, 0.2], [0.6, 1], [-1, 0.5]])
    ids(tracker, seen([box(0), box(100)], looks=first), 0)
    unit = second / np.linalg.norm(second, axis=1, keepdims=True)
    weight = np.exp(first @ unit.T / 0.5)
    want = (weight / weight.sum(0) + weight / weight.sum(1, keepdims=True)) / 2
    got = tracker._similarity(unit.astype(np.float32), np.ones((2, 3), bool))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_query_memory_bridges_a_frame_that_looks_like_nothing():
    good, odd = [[1.0, 0, 0]], [[0.6, 0.8, 0]]
    for memory, want in ((5, [1]), (1, [2])):
        tracker = QueryTracker(memory=memory, min_cosine=0.5, gate_overlap=None)
        for i in range(5):
            ids(tracker, seen([box(0)], looks=good), i / 30)
        assert ids(tracker, seen([box(0)], looks=odd), 5 / 30) == [1]
        assert ids(tracker, seen([box(0)], looks=[[0.95, -0.3, 0]]), 6 / 30) == want


def test_query_gate_holds_only_a_moment():
    """The same look, elsewhere: another object at first, the same one returning later."""
    far = seen([box(400)], looks=[[1.0, 0]])
    for wait, want in ((1 / 30, [2]), (0.5, [1])):
        tracker = QueryTracker()
        ids(tracker, seen([box(0)], looks=[[1.0, 0]]), 0)
        assert ids(tracker, far, wait) == want


def test_query_needs_embeddings_of_one_width():
    tracker = QueryTracker()
    with pytest.raises(UsageError, match="these detections have none"):
        tracker.update(seen([box(0)]), 0)
    ids(tracker, seen([box(0)], looks=[[1.0, 0]]), 0)
    with pytest.raises(UsageError, match="width 2, as in the frames before, got 3"):
        ids(tracker, seen([box(0)], looks=[[1.0, 0, 0]]), 0)
    with pytest.raises(UsageError, match="bisoftmax"):
        QueryTracker(matching="softmax")
    with pytest.raises(UsageError, match="memory 0"):
        QueryTracker(memory=0)


def test_native_refuses_what_is_no_identity():
    tracker = NativeTracker()
    with pytest.raises(UsageError, match="choose another tracker"):
        tracker.update(seen([box(0)]), 0)
    for bad in ([0, 1], [3, 3]):
        with pytest.raises(UsageError, match="ids above 0, each once"):
            tracker.update(seen([box(0), box(100)], ids=bad), 0)
    assert ids(tracker, seen([box(0), box(100)], ids=[7, 3]), 0) == [7, 3]
    assert tracker.live_ids == (3, 7)


@pytest.mark.parametrize(
    "kind", [SortTracker, ByteTracker, OcSortTracker, BotSortTracker, MaskIouTracker, QueryTracker]
)
@pytest.mark.parametrize("same_label", [False, True])
def test_labels_part_tracks_only_when_asked(kind, same_label):
    tracker = kind(same_label=same_label)
    looks = [[1.0, 0]]
    ids(tracker, seen([box(0)], labels=1, looks=looks), 0)
    assert ids(tracker, seen([box(0)], labels=2, looks=looks), 1 / 30) == [2 if same_label else 1]


@pytest.mark.parametrize("name", ["iou", "sort", "bytetrack", "botsort", "mask_iou", "query"])
def test_names_of_version_0_1_are_read_with_a_warning(name):
    with pytest.warns(DeprecationWarning, match="birth_score is called new_track_thresh"):
        tracker = trackers.create(name, birth_score=0.75)
    assert tracker.new_track_thresh == 0.75
    with pytest.warns(DeprecationWarning, match="fates is called statuses"):
        assert tracker.fates == tracker.statuses == ()

"""The contract of ``vis.interfaces.Tracker``, held over every tracker by name."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import trackers
from trackers.base import TrackStatus
from vis.errors import UsageError
from vis.interfaces import Tracker
from vis.structures import Detections

STEP = 1 / 30


@pytest.fixture(params=sorted(trackers.TRACKERS))
def make(request):
    """Makes trackers of one kind, each call a new one."""
    return partial(trackers.create, request.param)


def fields(detections: Detections) -> dict[str, np.ndarray | None]:
    return {name: getattr(detections, name) for name in Detections.__dataclass_fields__}


def ids_of(truth: Detections, out: Detections) -> dict[int, int]:
    """True id -> the tracker's id, for the rows that came back (scores tell rows apart)."""
    rows = [int(np.flatnonzero(truth.scores == score)[0]) for score in out.scores]
    return dict(zip(truth.track_ids[rows].tolist(), out.track_ids.tolist(), strict=True))


def hard_stream(seed: int, frames: int = 60) -> list[Detections]:
    """Boxes without sense: births, deaths, every score, empty frames, objects without masks."""
    rng = np.random.default_rng(seed)
    stream = []
    for _ in range(frames):
        n = int(rng.integers(0, 12)) * int(rng.random() > 0.1)
        start = rng.uniform(0, 60, (n, 2))
        boxes = np.concatenate([start, start + rng.uniform(0, 50, (n, 2))], 1).astype(np.float32)
        masks = None
        if rng.random() > 0.3:
            masks = rng.random((n, 24, 32)) > 0.7
        scores = rng.permutation(np.linspace(0, 1, n)).astype(np.float32)
        ids = rng.permutation(np.arange(1, 30))[:n]
        embeddings = rng.normal(size=(n, 8)).astype(np.float32)
        stream.append(Detections(boxes, scores, rng.integers(0, 3, n), masks, ids, embeddings))
    return stream


def test_is_a_tracker(make):
    assert isinstance(make(), Tracker)


def test_follows_objects_whose_rows_are_shuffled(make, make_world):
    world, tracker = make_world(), make()
    names = None
    for i in range(40):
        seen = world.seen(i * STEP)
        now = ids_of(seen, tracker.update(seen, i * STEP))
        names = names or now
        assert len(now) == world.count
        assert now == names
    assert sorted(names.values()) == [1, 2, 3, 4, 5]
    assert tracker.live_ids == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("seed", range(3))
def test_keeps_rows_in_order_and_untouched(make, seed):
    tracker = make()
    for i, given in enumerate(hard_stream(seed)):
        before = {name: None if value is None else value.copy() for name, value in fields(given).items()}
        out = tracker.update(given, i * STEP)
        for name, value in fields(given).items():
            np.testing.assert_array_equal(value, before[name], err_msg=f"the input's {name} was changed")
        rows = [int(np.flatnonzero(given.scores == score)[0]) for score in out.scores]
        assert rows == sorted(set(rows))
        for name, value in fields(out).items():
            if name == "track_ids":
                continue
            if before[name] is None:
                assert value is None
            else:
                np.testing.assert_array_equal(value, before[name][rows])
        kept = [row for row, status in enumerate(tracker.statuses) if status is TrackStatus.KEPT]
        assert kept == rows
        assert len(tracker.statuses) == len(given)


@pytest.mark.parametrize("seed", range(3))
def test_ids_are_unique_live_and_never_used_again(make, seed):
    tracker, dead, before, highest = make(), set(), set(), 0
    native = type(tracker).__name__ == "NativeTracker"
    for i, given in enumerate(hard_stream(seed, frames=120)):
        out = tracker.update(given, i * STEP)
        ids = out.track_ids.tolist()
        assert out.track_ids.dtype == np.int64
        assert len(set(ids)) == len(ids)
        assert set(ids) <= set(tracker.live_ids)
        if native:
            assert ids == given.track_ids.tolist()
            continue
        new = [n for n in ids if n > highest]
        assert new == list(range(highest + 1, highest + 1 + len(new))), "ids count up from 1 without gaps"
        highest += len(new)
        dead |= before - set(tracker.live_ids)
        assert not dead & set(ids)
        before = set(tracker.live_ids)


def test_empty_frames_are_normal(make, make_world):
    world, tracker = make_world(), make()
    assert len(tracker.update(Detections.empty(), 0.0)) == 0
    assert tracker.update(Detections.empty(), STEP).track_ids.shape == (0,)
    assert tracker.live_ids == ()
    seen = world.seen(2 * STEP)
    names = ids_of(seen, tracker.update(seen, 2 * STEP))
    again = world.seen(3 * STEP)
    assert ids_of(again, tracker.update(again, 3 * STEP)) == names
    tracker.update(Detections.empty(), 4 * STEP)
    again = world.seen(5 * STEP)
    assert ids_of(again, tracker.update(again, 5 * STEP)) == names


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_a_life_birth_occlusion_return_death(make, make_world, fps):
    """In seconds, whatever the frame rate: object 3 hides for 0.3 s, later for good."""
    world, tracker, step = make_world(), make(), 1 / fps
    everyone, others = [0, 1, 2, 3, 4], [0, 1, 2, 4]
    names, frame = {}, 0

    def watch(seconds, objects):
        nonlocal frame
        for _ in range(round(seconds * fps)):
            seen = world.seen(frame * step, objects)
            names.update(ids_of(seen, tracker.update(seen, frame * step)))
            frame += 1
        return dict(names)

    before = watch(0.5, everyone)
    assert len(before) == 5
    hidden = watch(0.3, others)
    assert hidden == before
    assert names[4] in tracker.live_ids, "hidden, not dead"
    assert watch(0.3, everyone) == before, "returned under its old id"
    watch(tracker.buffer_seconds + 0.2, others)
    assert names[4] not in tracker.live_ids, "dead"
    assert sorted(tracker.live_ids) == sorted(names[k] for k in (1, 2, 3, 5))
    if type(tracker).__name__ != "NativeTracker":
        assert watch(0.2, everyone)[4] == 6, "a new life has a new id"


def test_two_trackers_do_not_meddle(make, make_world):
    one, two = make_world(seed=1), make_world(seed=2, count=4)
    alone = [make(), make()]
    together = [make(), make()]
    want = [[], []]
    for k, world in enumerate((one, two)):
        for i in range(20):
            want[k].append(alone[k].update(world.seen(i * STEP), i * STEP).track_ids.tolist())
    for i in range(20):
        for k, world in enumerate((one, two)):
            got = together[k].update(world.seen(i * STEP), i * STEP).track_ids.tolist()
            assert got == want[k][i]
        if i == 10:
            make().reset()
    together[0].reset()
    assert together[0].live_ids == ()
    assert together[1].live_ids == alone[1].live_ids
    fresh = [together[0].update(one.seen(i * STEP), i * STEP).track_ids.tolist() for i in range(20)]
    assert fresh == want[0], "after reset a tracker is as new"


def test_save_and_restore_in_the_middle(make, make_world):
    """The restored one goes on exactly alike; the state does not share memory with the saved one."""
    for stream in (hard_stream(7), [make_world().seen(i * STEP) for i in range(60)]):
        tracker = make()
        for i in range(30):
            tracker.update(stream[i], i * STEP)
        state = tracker.state_dict()
        want = [tracker.update(stream[i], i * STEP).track_ids.tolist() for i in range(30, 60)]
        restored = make()
        restored.update(stream[0], 0.0)  # has a past of its own, which must not show
        restored.load_state_dict(state)
        got = [restored.update(stream[i], i * STEP).track_ids.tolist() for i in range(30, 60)]
        assert got == want
        assert restored.live_ids == tracker.live_ids


def test_state_is_plain(make, make_world):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(plain(item) for item in value)
        if isinstance(value, np.ndarray):
            return value.dtype != object
        return value is None or type(value) in (int, float, str, bool)

    tracker = make()
    for i in range(3):
        tracker.update(make_world().seen(i * STEP), i * STEP)
    assert plain(tracker.state_dict())


def test_a_state_of_another_kind_is_refused(make):
    with pytest.raises(UsageError, match="a state of its own"):
        make().load_state_dict({"tracker": "somebody else"})


def test_history_is_bounded(make, make_world):
    """Objects come and go all the time; what is remembered stays as large as it was."""

    def size(value):
        if isinstance(value, dict):
            return sum(size(item) for item in value.values())
        if isinstance(value, list):
            return sum(size(item) for item in value)
        return value.nbytes if isinstance(value, np.ndarray) else 8

    world, tracker, sizes = make_world(), make(buffer_seconds=0.2), []
    for i in range(200):
        seen = world.seen((i % 10) * STEP, seed=i)
        shift = np.float32(1000 * (i // 5 % 7))
        moved = Detections(
            seen.boxes + shift,
            seen.scores,
            seen.labels,
            None,
            seen.track_ids + 10 * (i // 5),
            np.roll(seen.embeddings, i // 5, axis=1),
        )
        tracker.update(moved, i * STEP)
        sizes.append(size(tracker.state_dict()))
    assert max(sizes[100:]) <= max(sizes[:100])
    assert len(tracker.live_ids) <= 5 * 10


def test_runs_are_alike(make):
    def run():
        tracker = make()
        return [tracker.update(d, i * STEP).track_ids.tolist() for i, d in enumerate(hard_stream(3))]

    assert run() == run()


def test_time_may_stand_but_not_run_back(make, make_world):
    tracker, world = make(), make_world()
    tracker.update(world.seen(0), 1.0)
    tracker.update(world.seen(0), 1.0)
    with pytest.raises(UsageError, match=r"expected rising pts_seconds, got 0\.5 after 1\.0"):
        tracker.update(world.seen(0), 0.5)
    for now in (float("nan"), float("inf")):
        for fresh in (tracker, make()):
            with pytest.raises(UsageError, match=str(now)):
                fresh.update(world.seen(0), now)


def test_settings_that_cannot_be_meant(make):
    with pytest.raises(UsageError, match="buffer_seconds"):
        make(buffer_seconds=-1)


def test_no_torch():
    code = "import sys, trackers; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Offline linking: laws on small tubes, and identities on a seeded crowd with exact truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

import trackers
from trackers.appearance import WIDTH, colour_looks, colours
from trackers.duplicates import merge_duplicates
from trackers.linking import drop_empty, drop_short, fill, keep_best, link, stitch
from vis import masks as rle
from vis.errors import UsageError
from vis.evaluation.tracking_metrics import identity_metrics
from vis.structures import Detections, Frame, Tube, VideoInfo, VideoResult

SIZE = (360, 640)
FPS = 30


def tube(id_, frames, boxes, label=0, score=0.8, masks=False) -> Tube:
    frames = np.asarray(list(frames), np.int64)
    boxes = np.asarray([boxes(i) for i in frames] if callable(boxes) else boxes, np.float32)
    found = tuple(rle.encode(painted(b)) for b in boxes) if masks else None
    return Tube(id_, label, score, frames, boxes, np.full(len(frames), score, np.float32), found)


def painted(box) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    x0, y0, x1, y1 = (max(round(float(v)), 0) for v in box)
    mask[y0:y1, x0:x1] = True
    return mask


def result(*tubes: Tube, frames: int = 120, step: int = 1) -> VideoResult:
    index = np.arange(frames, dtype=np.int64) * step
    video = VideoInfo("clip", *SIZE, fps=FPS)
    return VideoResult(video, ("a", "b"), tuple(tubes), index, index / FPS, {"detector": "test"})


def walker(x: float, speed: float, y: float = 100.0):
    """An even walk: the box of a frame."""
    return lambda i: [x + speed * i, y, x + speed * i + 40, y + 80]


def test_stitches_a_walk_across_a_gap_and_no_further():
    walk = walker(20, 2)
    broken = result(
        tube(1, range(40), walk), tube(5, range(55, 100), walk), tube(7, range(70, 110), walker(500, -1, 20))
    )
    linked = stitch(broken)
    assert [(t.id, len(t)) for t in linked.tubes] == [(5, 85), (7, 40)], "the longer part gives the id"
    np.testing.assert_array_equal(linked.tubes[0].frames, [*range(40), *range(55, 100)])
    assert len(stitch(broken, max_gap_seconds=0.3).tubes) == 3
    assert len(stitch(broken, prior=-50).tubes) == 3


def test_is_pure_and_settled():
    walk = walker(20, 2)
    broken = result(tube(1, range(40), walk, masks=True), tube(2, range(45, 90), walk, masks=True))
    copies = [(t.frames.copy(), t.boxes.copy(), t.masks) for t in broken.tubes]
    linked = link(broken)
    for t, (frames, boxes, masks) in zip(broken.tubes, copies, strict=True):
        np.testing.assert_array_equal(t.frames, frames)
        np.testing.assert_array_equal(t.boxes, boxes)
        assert t.masks == masks
    again = link(linked)
    assert [(t.id, len(t), t.masks) for t in again.tubes] == [(t.id, len(t), t.masks) for t in linked.tubes]
    assert linked.made_with["detector"] == "test"
    assert linked.made_with["linking"]["tubes_before"] == 2
    assert linked.made_with["linking"]["tubes_after"] == 1


def test_the_optimum_is_global():
    """The first tail fits the first head best, which is the second tail's only one: greedy would
    leave two pieces alone."""
    tails = [tube(1, range(30), walker(100, 0)), tube(2, range(40), walker(175, 0))]
    heads = [tube(3, range(46, 80), walker(110, 0)), tube(4, range(36, 70), walker(40, 0))]
    linked = stitch(result(*tails, *heads), prior=2)
    ends = sorted((float(t.boxes[0, 0]), float(t.boxes[-1, 0])) for t in linked.tubes)
    assert ends == [(100, 40), (175, 110)]
    alone = stitch(result(tails[0], *heads), prior=2)
    assert max(alone.tubes, key=len).boxes[-1, 0] == 110, "alone, the first tail takes the first head"


def test_looks_undo_a_swap_at_a_crossing():
    """Two walkers meet, and the tracker gave each the other's id from there on."""
    left, right = walker(50, 3), walker(50 + 3 * 80, -3, 104)
    one = tube(1, range(80), lambda i: left(i) if i < 40 else right(i))
    two = tube(2, range(80), lambda i: right(i) if i < 40 else left(i))
    rng = np.random.default_rng(0)
    red, blue = np.array([1.0, 0.3, 0]), np.array([0, 0.3, 1.0])

    def look(first, second):
        clean = np.where(np.arange(80)[:, None] < 40, first, second)
        return (clean + rng.normal(0, 0.05, (80, 3))).astype(np.float32)

    swapped = result(one, two)
    linked = stitch(swapped, {1: look(red, blue), 2: look(blue, red)})
    paths = sorted([t.boxes[0, 0], t.boxes[-1, 0]] for t in linked.tubes)
    assert paths == [[left(0)[0], left(79)[0]], [right(0)[0], right(79)[0]]]
    joined = stitch(swapped, {1: look(red, blue), 2: look(blue, red)}, cut=False)
    assert [(t.id, len(t)) for t in joined.tubes] == [(1, 80), (2, 80)], "what was followed stays"
    same = stitch(swapped, {1: look(red, red), 2: look(blue, blue)})
    assert [len(t) for t in same.tubes] == [80, 80], "without a change of looks nothing is cut"


def test_frames_without_a_pixel_are_no_part_of_a_tube():
    walk = walker(100, 6)
    whole, nothing, boxes = (
        tube(1, range(4), walk, masks=True),
        tube(2, range(4), walk),
        tube(3, range(4), walk),
    )
    blank = rle.encode(np.zeros(result(whole).video.size, bool))
    partly = replace(whole, masks=(blank, *whole.masks[1:3], blank))
    nothing = replace(nothing, masks=(blank,) * 4)
    kept = drop_empty(result(partly, nothing, boxes)).tubes
    assert [(t.id, t.frames.tolist()) for t in kept] == [(1, [1, 2]), (3, [0, 1, 2, 3])]
    assert kept[0].masks == whole.masks[1:3]


def test_fill_interpolates_only_short_gaps_on_processed_frames():
    walk = walker(100, 6)
    frames = [0, 3, 6, 15, 60, 63]
    sparse = result(tube(1, frames, walk, masks=True), frames=30, step=3)  # every third frame was processed
    filled = fill(sparse, max_gap_seconds=0.3).tubes[0]
    np.testing.assert_array_equal(filled.frames, [0, 3, 6, 9, 12, 15, 60, 63])
    np.testing.assert_allclose(filled.boxes, [walk(i) for i in filled.frames])
    for row, frame in ((3, 9), (4, 12)):
        np.testing.assert_array_equal(rle.decode(filled.masks[row]), painted(walk(frame)))
    assert filled.masks[0] == sparse.tubes[0].masks[0]
    assert fill(sparse, max_gap_seconds=0).tubes[0].frames.tolist() == frames
    assert fill(result(tube(1, frames, walk), frames=30, step=3)).tubes[0].masks is None


def test_drop_and_cap_as_benchmarks_do():
    tubes = [
        tube(k, range(k), walker(100 * k, 0), score=score)
        for k, score in ((1, 0.9), (3, 0.5), (4, 0.7), (5, 0.5))
    ]
    many = result(*tubes)
    assert [t.id for t in drop_short(many, 3).tubes] == [3, 4, 5]
    assert [t.id for t in keep_best(many, 3).tubes] == [1, 3, 4]
    assert [t.id for t in keep_best(many, 0).tubes] == []
    with pytest.raises(UsageError, match="top"):
        keep_best(many, -1)
    assert link(result()).tubes == ()


def test_a_short_tube_must_be_surer_than_a_long_one():
    flicker = tube(1, range(3), walker(20, 2), score=0.3)
    sure = tube(2, range(3), walker(20, 2, y=200), score=0.5)
    long = tube(3, range(8), walker(300, 2), score=0.2)
    kept = link(result(flicker, sure, long), min_frames=2, min_evidence=1.0)
    assert [one.id for one in kept.tubes] == [2, 3]


def test_label_and_score_of_a_chain():
    walk = walker(20, 2)
    parts = [tube(1, range(30), walk, label=1, score=0.5), tube(2, range(35, 55), walk, label=0, score=0.9)]
    (joined,) = stitch(result(*parts)).tubes
    assert joined.label == 0, "20 x 0.9 outweighs 30 x 0.5"
    assert joined.score == pytest.approx((30 * 0.5 + 20 * 0.9) / 50)


def test_looks_that_do_not_fit_are_refused():
    broken = result(tube(1, range(10), walker(0, 1)))
    for looks in ({1: np.zeros((9, 4))}, {2: np.zeros((10, 4))}, {1: np.zeros(10)}):
        with pytest.raises(UsageError, match=r"looks of tube 1: expected \(10, D\)"):
            stitch(broken, looks)


def test_colours_of_objects():
    image = np.zeros((*SIZE, 3), np.uint8)
    image[100:180, 20:60] = 200, 30, 30
    image[100:180, 300:340] = 30, 30, 200
    found = result(tube(1, range(2), walker(20, 0)), tube(2, range(2), walker(300, 0), masks=True))
    looks = colour_looks((Frame(i, i / FPS, image) for i in range(5)), found)
    assert looks[1].shape == looks[2].shape == (2, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(looks[1], axis=1), 1, rtol=1e-6)
    assert looks[1][0] @ looks[1][1] == pytest.approx(1)
    assert looks[1][0] @ looks[2][0] == 0
    outside = colours(image, np.array([[-50, -50, -10, -10], [20, 100, 60, 180]], np.float32))
    assert not outside[0].any()
    assert outside[1].argmax() == looks[1][0].argmax()


def crowd(seed: int, frames: int = 240, count: int = 6):
    """Objects that swing across one another and out of the picture; nearer ones hide farther ones."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / FPS
    turns, phase = rng.uniform(0.09, 0.16, count), rng.uniform(0, 2 * np.pi, count)
    x = 320 + rng.uniform(420, 520, count) * np.sin(2 * np.pi * turns * t + phase)
    y = 180 + 40 * np.sin(2 * np.pi * 0.2 * t + rng.uniform(0, 2 * np.pi, count))
    half = np.stack([rng.uniform(20, 32, count), rng.uniform(35, 50, count)], 1)
    looks = rng.normal(size=(count, 32))
    stream, truth = [], defaultdict(list)
    for i in range(frames):
        centre = np.stack([x[i], y[i]], 1)
        boxes = np.concatenate([centre - half, centre + half], 1)
        inside = (x[i] > 20) & (x[i] < 620)
        shown = []
        for k in np.flatnonzero(inside):
            nearer = [j for j in np.flatnonzero(inside) if j > k]
            if all(abs(x[i, k] - x[i, j]) > 1.1 * half[j, 0] for j in nearer):
                shown.append(k)
                truth[k].append((i, boxes[k]))
        found = rng.permutation([k for k in shown if rng.random() > 0.06]).astype(int)
        noisy = boxes[found] + rng.normal(0, 2, (len(found), 4))
        scores = rng.uniform(0.6, 1, len(found))
        stream.append(
            Detections(
                noisy.astype(np.float32),
                scores.astype(np.float32),
                np.zeros(len(found), np.int64),
                None,
                None,
                (looks[found] + rng.normal(0, 0.7, (len(found), 32))).astype(np.float32),
            )
        )
    tubes = [tube(k + 1, *zip(*rows, strict=True)) for k, rows in sorted(truth.items())]
    return stream, result(*tubes, frames=frames)


def tracked(name: str, stream) -> tuple[VideoResult, dict[int, np.ndarray]]:
    tracker, rows = trackers.create(name), defaultdict(list)
    for i, found in enumerate(stream):
        out = tracker.update(found, i / FPS)
        for k, id_ in enumerate(out.track_ids.tolist()):
            rows[id_].append((i, out.boxes[k], out.embeddings[k]))
    tubes, looks = [], {}
    for id_, seen in sorted(rows.items()):
        frames, boxes, vectors = zip(*seen, strict=True)
        tubes.append(tube(id_, frames, np.stack(boxes)))
        looks[id_] = np.stack(vectors)
    return result(*tubes, frames=len(stream)), looks


def test_linking_beats_the_best_online_tracker_on_a_crowd():
    names = ("sort", "bytetrack", "ocsort", "query")
    online, linked = defaultdict(list), defaultdict(list)
    for seed in (0, 1):
        stream, truth = crowd(seed)
        for name in names:
            found, looks = tracked(name, stream)
            online[name].append(identity_metrics(truth, drop_short(found, 3)))
            linked[name].append(identity_metrics(truth, link(found, looks)))

    def mean(table, key):
        return {name: float(np.mean([getattr(m, key) for m in rows])) for name, rows in table.items()}

    best_online = max(mean(online, "hota").values())
    assert min(mean(linked, "hota").values()) > best_online, (mean(online, "hota"), mean(linked, "hota"))
    for name in names:
        assert mean(linked, "ass_a")[name] > mean(online, "ass_a")[name]
        assert sum(m.id_switches for m in linked[name]) < sum(m.id_switches for m in online[name])


def test_without_looks_linking_does_little_harm_where_it_can_only_guess():
    """Everybody leaves and comes back, and nothing but looks could tell who is who."""
    before, after = [], []
    for seed in (5, 6):
        stream, truth = crowd(seed)
        found, _ = tracked("sort", stream)
        before.append(identity_metrics(truth, drop_short(found, 3)).hota)
        after.append(identity_metrics(truth, link(found)).hota)
    assert np.mean(after) > np.mean(before) - 0.02


def test_two_tubes_of_one_object_become_one():
    """A part of the object was tracked beside it; masks of the two share no pixel, as a preset leaves them."""
    whole = tube(2, range(60), lambda i: [100 + i, 100, 200 + i, 200], masks=True)
    part = tube(5, range(40, 100), lambda i: [100 + i, 100, 200 + i, 145], score=0.5, masks=True)
    rest = tuple(
        rle.encode(rle.decode(mask) & ~painted([100 + i, 100, 200 + i, 145])) if i >= 40 else mask
        for i, mask in enumerate(whole.masks)
    )
    merged = merge_duplicates(result(replace(whole, masks=rest), part)).tubes
    assert [(t.id, len(t)) for t in merged] == [(2, 100)], "equally long: the lower id"
    np.testing.assert_array_equal(merged[0].frames, np.arange(100))
    for i in (0, 39, 40, 59):
        np.testing.assert_array_equal(merged[0].boxes[i], [100 + i, 100, 200 + i, 200])
        assert merged[0].masks[i] == rle.encode(painted([100 + i, 100, 200 + i, 200]))
    assert merged[0].masks[60] == part.masks[20]
    assert merged[0].score == pytest.approx((60 * 0.8 + 40 * 0.5) / 100)


@pytest.mark.parametrize(
    "other",
    [
        tube(5, range(40, 100), lambda i: [100, 100, 200, 145], label=1),
        tube(5, range(40, 100), lambda i: [100, 100, 200, 130]),
        tube(5, range(40, 100), lambda i: [150, 100, 250, 200]),
        tube(5, range(58, 100), lambda i: [100, 100, 200, 145]),
    ],
    ids=["another class", "much smaller", "beside", "hardly together"],
)
def test_two_objects_stay_two_tubes(other):
    both = result(tube(2, range(60), lambda i: [100, 100, 200, 200]), other)
    assert [t.id for t in merge_duplicates(both).tubes] == [2, 5]


@pytest.mark.parametrize(
    ("first", "box", "merged"),
    [
        (52, [100, 100, 150, 150], True),
        (40, [100, 100, 150, 150], False),
        (52, [180, 180, 280, 280], False),
    ],
    ids=["a part that grows out of it", "too long together", "a neighbour"],
)
def test_a_tube_that_ends_where_another_begins_inside_it_is_handed_over(first, box, merged):
    """A detector that sees a part, and then the whole from the part on: one object in two tubes."""
    one = tube(2, range(60), lambda i: [100, 100, 200, 200])
    other = tube(5, range(first, 110), lambda i: box)
    kept = merge_duplicates(result(one, other)).tubes
    assert [t.id for t in kept] == ([5 if 110 - first > 60 else 2] if merged else [2, 5])
    if merged:
        assert len(kept[0]) == 110


def test_of_three_tubes_only_those_alike_are_merged():
    """The one in the middle is like either neighbour, which are not alike: it goes with the more similar one."""
    tubes = [
        tube(1, range(50), lambda i: [0, 0, 100, 100]),
        tube(2, range(50), lambda i: [0, 0, 100, 60]),
        tube(3, range(50), lambda i: [0, 0, 100, 25]),
    ]
    assert [t.id for t in merge_duplicates(result(*tubes)).tubes] == [1, 3]

"""HOTA, IDF1 and ID switches: closed forms, laws, and tubes of masks and of boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vis import masks
from vis.evaluation import identity_from_similarity, identity_metrics
from vis.evaluation.tracking_metrics import FrameSimilarity
from vis.structures import Tube, VideoInfo, VideoResult


def frames_of(truth: list[list[int]], result: list[list[int]], pairs: dict[tuple[int, int], float]):
    """Frames from the ids in each and the IoU of pairs of ids (0 where not given)."""
    return [
        FrameSimilarity(
            np.array(a, np.int64),
            np.array(b, np.int64),
            np.array([[pairs.get((g, r), 0.0) for r in b] for g in a], np.float64).reshape(len(a), len(b)),
        )
        for a, b in zip(truth, result, strict=True)
    ]


def test_perfect_tracking():
    out = identity_from_similarity(frames_of([[1, 2]] * 4, [[7, 9]] * 4, {(1, 9): 1.0, (2, 7): 1.0}))
    assert (out.hota, out.det_a, out.ass_a, out.loc_a, out.idf1, out.mota, out.smota) == (1,) * 7
    assert (out.id_switches, out.fragments, out.fp, out.fn, out.tp) == (0, 0, 0, 0, 8)


def test_one_switch_in_the_middle_has_a_closed_form():
    # One object, 10 frames; result id 1 covers the first 5, id 2 the last 5, IoU 1 throughout.
    out = identity_from_similarity(frames_of([[1]] * 10, [[1]] * 5 + [[2]] * 5, {(1, 1): 1.0, (1, 2): 1.0}))
    assert out.id_switches == 1
    assert out.det_a == 1.0
    # Each TP: TPA 5, FNA 5, FPA 0.
    assert out.ass_a == pytest.approx(0.5)
    assert out.hota == pytest.approx(np.sqrt(0.5))
    assert out.idf1 == pytest.approx(0.5)  # IDTP 5, IDFP 5, IDFN 5
    assert out.mota == pytest.approx(0.9)


def test_localisation_decides_the_curve():
    # IoU 0.62 counts at the thresholds up to 0.60: 12 of 19.
    out = identity_from_similarity(frames_of([[1]] * 3, [[1]] * 3, {(1, 1): 0.62}))
    np.testing.assert_allclose(out.hota_curve, [1.0] * 12 + [0.0] * 7)
    assert out.hota == pytest.approx(12 / 19)
    assert out.smota == pytest.approx(0.62)


def test_nothing_found_and_nothing_there():
    lost = identity_from_similarity(frames_of([[1]] * 3, [[]] * 3, {}))
    assert (lost.hota, lost.idf1, lost.fn, lost.mota) == (0, 0, 3, 0)
    ghosts = identity_from_similarity(frames_of([[]] * 3, [[1, 2]] * 3, {}))
    assert (ghosts.hota, ghosts.fp, ghosts.mota) == (0, 6, -6)
    assert identity_from_similarity([]).hota == 0


def test_dense_case_with_two_objects_and_two_tracks():
    # Truth 1 in frames 0-3 and truth 2 in 0-4; track 1 flips between them, track 2 shows up once.
    truth = [[1, 2]] * 4 + [[2]]
    result = [[1]] * 2 + [[1]] * 2 + [[1, 2]]
    similar = frames_of(truth, result, {})
    for t, frame in enumerate(similar):
        frame.iou[list(frame.truth_ids).index(1 if t < 2 else 2), 0] = 1.0
    out = identity_from_similarity(similar)
    assert (out.tp, out.fp, out.fn) == (5, 1, 4)
    assert out.id_switches == 0  # neither truth ever met a second identity
    assert out.mota == pytest.approx((5 - 1) / 9)
    # Best pairing: truth 2 with track 1, 3 frames; 9 truth frames, 6 result frames.
    assert out.idf1 == pytest.approx(2 * 3 / (9 + 6))


def test_a_gap_is_a_fragment_and_not_a_switch():
    out = identity_from_similarity(frames_of([[1]] * 5, [[4], [4], [8], [4], [4]], {(1, 4): 0.9}))
    assert (out.id_switches, out.fragments, out.fn, out.fp) == (0, 1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_laws(seed):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(int(rng.integers(1, 8))):
        a = np.flatnonzero(rng.random(4) < 0.7)
        b = np.flatnonzero(rng.random(5) < 0.6)
        frames.append(FrameSimilarity(a, b, rng.random((len(a), len(b)))))
    out = identity_from_similarity(frames)
    for value in (out.hota, out.det_a, out.ass_a, out.idf1, out.id_precision, out.id_recall):
        assert 0 <= value <= 1
    assert out.tp + out.fn == sum(len(f.truth_ids) for f in frames)
    assert out.tp + out.fp == sum(len(f.result_ids) for f in frames)
    assert out.mota <= 1
    # Names of identities do not matter.
    renamed = [FrameSimilarity(97 - 3 * f.truth_ids, f.result_ids * 5 + 2, f.iou) for f in frames]
    again = identity_from_similarity(renamed)
    assert (again.idf1, again.tp) == (out.idf1, out.tp)
    np.testing.assert_allclose(again.hota_curve, out.hota_curve)


def video(tubes, *, with_masks=True, size=(40, 50), length=6):
    made = []
    for number, boxes in tubes.items():
        frames = np.array(sorted(boxes), np.int64)
        rows = np.array([boxes[f] for f in frames.tolist()], np.float32)
        dense = np.zeros((len(rows), *size), bool)
        for mask, (x0, y0, x1, y1) in zip(dense, rows.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        made.append(
            Tube(
                number,
                0,
                1.0,
                frames,
                rows,
                np.ones(len(rows), np.float32),
                masks.encode_many(dense) if with_masks else None,
            )
        )
    frames = np.arange(length, dtype=np.int64)
    return VideoResult(VideoInfo("v", *size), ("thing",), tuple(made), frames, frames / 10.0)


@pytest.mark.parametrize("with_masks", [True, False])
def test_tubes_of_rectangles_agree_as_masks_and_as_boxes(with_masks):
    truth = video(
        {1: {t: (2 + t, 3, 12 + t, 13) for t in range(6)}, 2: dict.fromkeys(range(3), (30, 20, 40, 30))}
    )
    result = video(
        {
            3: {t: (2 + t, 3, 12 + t, 13) for t in range(3)},
            5: {t: (3 + t, 3, 13 + t, 13) for t in range(3, 6)},
        },
        with_masks=with_masks,
    )
    out = identity_metrics(truth, result)
    assert (out.tp, out.fn, out.fp, out.id_switches) == (6, 3, 0, 1)
    assert out.smota == pytest.approx((3 * 1.0 + 3 * 90 / 110 - 1) / 9)

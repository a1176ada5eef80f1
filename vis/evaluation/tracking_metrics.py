"""How well identities hold over time: HOTA, IDF1, ID switches, MOTSA; on mask tubes or boxes.

Definitions: HOTA: Luiten et al., IJCV 2021; IDF1: Ristani et al., ECCV-W 2016; CLEAR: Bernardin and
Stiefelhagen, EURASIP 2008, for masks Voigtlaender et al., CVPR 2019. Details (thresholds with an
epsilon, what an empty frame does) follow TrackEval, the reference implementation.

Classes are not looked at: give the tubes of one class to evaluate one class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis import boxes, masks
from vis.structures import MaskRLE, Tube, VideoResult

__all__ = [
    "FrameSimilarity",
    "IdentityMetrics",
    "identity_from_similarity",
    "identity_metrics",
    "similarities",
]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The 19 localisation thresholds of HOTA."""
_EPS = float(np.finfo(np.float64).eps)


class FrameSimilarity(NamedTuple):
    """One frame: which identities are there, and how well they overlap."""

    truth_ids: Int64
    """int64 (G,), unique within the frame."""
    result_ids: Int64
    """int64 (R,), unique within the frame."""
    iou: Float64
    """float64 (G, R) in [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentityMetrics:
    """All in [0, 1] unless said; higher is better but for the counts of errors."""

    hota: float
    """HOTA, mean over the 19 thresholds."""
    det_a: float
    """Detection accuracy, mean over the thresholds."""
    ass_a: float
    """Association accuracy, mean over the thresholds."""
    loc_a: float
    """Mean IoU of matches, mean over the thresholds."""
    hota_curve: Float64
    """float64 (19,): HOTA at each of :data:`ALPHAS`."""
    idf1: float
    """F1 of identity-consistent detections at IoU 0.5."""
    id_precision: float
    """Their precision."""
    id_recall: float
    """Their recall."""
    id_switches: int
    """How often a truth's match changes its identity (CLEAR, IoU 0.5)."""
    fragments: int
    """How often a truth is lost and found again (CLEAR)."""
    mota: float
    """(TP - FP - switches) / truths, at most 1, may be negative; MOTSA on masks."""
    smota: float
    """The same with the matches' IoU for TP; sMOTSA on masks."""
    tp: int
    """Matches at IoU 0.5 (CLEAR)."""
    fp: int
    """Detections without a match (CLEAR)."""
    fn: int
    """Truths without a match (CLEAR)."""


def identity_metrics(truth: VideoResult, result: VideoResult) -> IdentityMetrics:
    """Compare two results of one video, frame by frame on the frames of ``truth``.

    Mask IoU when all tubes of both have masks, else box IoU.
    """
    return identity_from_similarity(list(similarities(truth, result)))


def similarities(truth: VideoResult, result: VideoResult) -> Iterator[FrameSimilarity]:
    """IoU between the objects of each frame of ``truth``."""
    use_masks = all(tube.masks is not None for tube in truth.tubes + result.tubes)
    here, there = _by_frame(truth.tubes), _by_frame(result.tubes)
    for frame in truth.frames.tolist():
        a, b = here.get(frame, []), there.get(frame, [])
        iou = (_mask_ious if use_masks else _box_ious)(a, b)
        yield FrameSimilarity(
            np.array([tube.id for tube, _ in a], np.int64),
            np.array([tube.id for tube, _ in b], np.int64),
            iou,
        )


_Seen = tuple[Tube, int]  # a tube and the row of it that is meant


def _by_frame(tubes: Iterable[Tube]) -> dict[int, list[_Seen]]:
    frames: dict[int, list[_Seen]] = {}
    for tube in tubes:
        for row, frame in enumerate(tube.frames.tolist()):
            frames.setdefault(frame, []).append((tube, row))
    return frames


def _box_ious(a: Sequence[_Seen], b: Sequence[_Seen]) -> Float64:
    if not a or not b:
        return np.zeros((len(a), len(b)))
    rows, columns = (np.stack([tube.boxes[row] for tube, row in side]) for side in (a, b))
    return boxes.iou(rows, columns).astype(np.float64)


def _mask_ious(a: Sequence[_Seen], b: Sequence[_Seen]) -> Float64:
    out = np.zeros((len(a), len(b)))
    rows, columns = ([_mask(seen) for seen in side] for side in (a, b))
    row_boxes, column_boxes = ([masks.bounding_box(mask) for mask in side] for side in (rows, columns))
    for i, j in np.ndindex(*out.shape):
        p, q = row_boxes[i], column_boxes[j]
        if p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]:
            out[i, j] = masks.iou(rows[i], columns[j])
    return out


def _mask(seen: _Seen) -> MaskRLE:
    tube, row = seen
    assert tube.masks is not None
    return tube.masks[row]


# ---------------------------------------------------------------- the metrics, on arrays


def _assign(gain: Float64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the one-to-one pairing with the largest sum."""
    from scipy.optimize import linear_sum_assignment  # takes longer to import than AP to compute

    rows, columns = linear_sum_assignment(gain, maximize=True)
    return rows, columns


def identity_from_similarity(frames: Sequence[FrameSimilarity]) -> IdentityMetrics:
    """The metrics from the IoUs of each frame; ids may be any ints."""
    truth_ids = np.unique(np.concatenate([np.zeros(0, np.int64), *(f.truth_ids for f in frames)]))
    result_ids = np.unique(np.concatenate([np.zeros(0, np.int64), *(f.result_ids for f in frames)]))
    frames = [
        FrameSimilarity(
            np.searchsorted(truth_ids, f.truth_ids), np.searchsorted(result_ids, f.result_ids), f.iou
        )
        for f in frames
    ]
    shape = len(truth_ids), len(result_ids)
    counts = _presence(frames, shape)
    det_a, ass_a, loc_a = _hota(frames, shape, *counts)
    id_tp, id_fp, id_fn = _identity(frames, shape, *counts)
    tp, fp, fn, switches, fragments, iou_sum = _clear(frames, shape)
    curve = np.sqrt(det_a * ass_a)
    return IdentityMetrics(
        hota=float(curve.mean()),
        det_a=float(det_a.mean()),
        ass_a=float(ass_a.mean()),
        loc_a=float(loc_a.mean()),
        hota_curve=curve,
        idf1=id_tp / max(1.0, id_tp + 0.5 * id_fp + 0.5 * id_fn),
        id_precision=id_tp / max(1, id_tp + id_fp),
        id_recall=id_tp / max(1, id_tp + id_fn),
        id_switches=switches,
        fragments=fragments,
        mota=(tp - fp - switches) / max(1, tp + fn),
        smota=(iou_sum - fp - switches) / max(1, tp + fn),
        tp=tp,
        fp=fp,
        fn=fn,
    )


def _presence(frames: Sequence[FrameSimilarity], shape: tuple[int, int]) -> tuple[Int64, Int64]:
    """In how many frames each truth and each result is."""
    truth, result = np.zeros(shape[0], np.int64), np.zeros(shape[1], np.int64)
    for frame in frames:
        truth[frame.truth_ids] += 1
        result[frame.result_ids] += 1
    return truth, result


def _hota(
    frames: Sequence[FrameSimilarity], shape: tuple[int, int], truth: Int64, result: Int64
) -> tuple[Float64, Float64, Float64]:
    """DetA, AssA and LocA at each threshold (HOTA, equations 12 to 16)."""
    potential = np.zeros(shape)
    for frame in frames:
        union = frame.iou.sum(0)[None] + frame.iou.sum(1)[:, None] - frame.iou
        share = np.divide(frame.iou, union, out=np.zeros(union.shape), where=union > _EPS)
        potential[np.ix_(frame.truth_ids, frame.result_ids)] += share
    both = truth[:, None] + result[None]
    alignment = potential / np.maximum(both - potential, _EPS)

    together = np.zeros((len(ALPHAS), *shape))
    tp, iou_sum = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    for frame in frames:
        if not frame.iou.size:
            continue
        score = alignment[np.ix_(frame.truth_ids, frame.result_ids)] * frame.iou
        rows, columns = _assign(score)
        ious = frame.iou[rows, columns]
        fits = ious >= ALPHAS[:, None] - _EPS
        tp += fits.sum(1)
        iou_sum += (fits * ious).sum(1)
        for a, chosen in enumerate(fits):
            together[a, frame.truth_ids[rows[chosen]], frame.result_ids[columns[chosen]]] += 1
    ass = (together * together / np.maximum(1, both - together)).sum((1, 2)) / np.maximum(1, tp)
    det = tp / np.maximum(1, truth.sum() + result.sum() - tp)
    loc = np.maximum(1e-10, iou_sum) / np.maximum(1e-10, tp)
    return det, ass, loc


def _identity(
    frames: Sequence[FrameSimilarity], shape: tuple[int, int], truth: Int64, result: Int64
) -> tuple[int, int, int]:
    """IDTP, IDFP, IDFN of the one-to-one pairing of identities that loses least."""
    together = np.zeros(shape)
    for frame in frames:
        together[np.ix_(frame.truth_ids, frame.result_ids)] += frame.iou >= 0.5
    # Pairing costs truth + result - 2 together misses, not pairing truth + result: maximise `together`.
    rows, columns = _assign(together)
    tp = int(together[rows, columns].sum())
    return tp, int(result.sum()) - tp, int(truth.sum()) - tp


def _clear(
    frames: Sequence[FrameSimilarity], shape: tuple[int, int]
) -> tuple[int, int, int, int, int, float]:
    """TP, FP, FN, switches, fragments and the sum of matched IoUs, with matches kept over frames."""
    tp = fp = fn = switches = 0
    iou_sum = 0.0
    last = np.full(shape[0], -1)  # the identity that each truth was last matched to
    now = np.full(shape[0], -1)  # the one of the frame before
    runs = np.zeros(shape[0], np.int64)
    tracked = np.zeros(shape[0], bool)
    for frame in frames:
        ids, others = frame.truth_ids, frame.result_ids
        if not frame.iou.size:
            fn, fp = fn + len(ids), fp + len(others)
            continue
        score = (now[ids][:, None] == others[None]) * 1000.0 + frame.iou
        score[frame.iou < 0.5 - _EPS] = 0
        rows, columns = _assign(score)
        fits = score[rows, columns] > _EPS
        rows, columns = rows[fits], columns[fits]
        matched, partners = ids[rows], others[columns]
        switches += int(((last[matched] >= 0) & (last[matched] != partners)).sum())
        last[matched] = partners
        now[:] = -1
        now[matched] = partners
        found = now >= 0
        runs += found & ~tracked
        tracked = found
        tp, fp, fn = tp + len(matched), fp + len(others) - len(matched), fn + len(ids) - len(matched)
        iou_sum += float(frame.iou[rows, columns].sum())
    return tp, fp, fn, switches, int(np.maximum(runs - 1, 0).sum()), iou_sum

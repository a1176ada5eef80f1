"""Where AP was lost: every false tube and every missed truth gets one error type.

In the spirit of TIDE (Bolya et al., ECCV 2020), with types that only tubes have. At IoU 0.5, all
sizes, a false result is, by the first of these that holds:

    duplicate        overlaps a truth of its class that a better result already took
    class            overlaps a truth of another class
    boundary         right by mask, wrong by boundary (for boundary AP only)
    identity switch  follows one truth for a while, then another
    fragment         right while it lasts, but it covers too little of the truth
    localisation     touches a truth (IoU at least 0.1), not well enough
    background       none of these

and a truth that nothing of that explains is *missed*. The cost of a type is how much AP50 rises when
only its errors are put right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vis.evaluation import intervals
from vis.evaluation.bootstrap import mean_precision
from vis.evaluation.iou import mask_ious
from vis.evaluation.records import ResultTube, TruthTube
from vis.evaluation.tube_masks import TubeMasks
from vis.evaluation.tubes import TubeEvaluation

__all__ = ["MEANINGS", "ErrorAnalysis", "ErrorType", "TubeError", "analyze_errors"]

ErrorType = Literal[
    "class", "missed", "fragment", "identity switch", "boundary", "localisation", "duplicate", "background"
]
"""In the order in which their costs are computed."""
MEANINGS: dict[ErrorType, str] = {
    "duplicate": "overlaps a truth of its class that a better result already took",
    "class": "overlaps a truth of another class",
    "boundary": "right by mask, wrong by boundary",
    "identity switch": "follows one truth for a while, then another",
    "fragment": "right while it lasts, but covers too little of the truth",
    "localisation": "touches a truth, not well enough",
    "background": "touches no truth to speak of",
    "missed": "a truth that nothing explains",
}
"""What each type says, in one line, in the order in which they are tried."""
FOREGROUND, TOUCH = 0.5, 0.1
_MENDABLE = ("class", "boundary", "identity switch", "fragment", "localisation")


@dataclass(frozen=True, slots=True, eq=False)
class TubeError:
    """One false result and why."""

    result: ResultTube
    """The result."""
    type: ErrorType
    """What is wrong with it."""
    truth: TruthTube | None
    """The truth it should have been, if any."""
    iou: float
    """Mask tube IoU with that truth."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorAnalysis:
    """The losses of one kind of AP."""

    ap50: float
    """AP at IoU 0.5."""
    counts: dict[str, int]
    """How many tubes failed, by error type."""
    costs: dict[str, float]
    """AP50 that would be won by mending only the errors of a type."""
    errors: list[TubeError]
    """The false results, best score first."""
    missed: list[TruthTube]
    """Truths that nothing explains, largest first."""


@dataclass(slots=True)
class _Scored:
    """A result that counts, for recomputing AP50."""

    category: int
    score: float
    hit: bool
    error: TubeError | None


def analyze_errors(evaluation: TubeEvaluation, kind: str) -> ErrorAnalysis:
    """The error type of every false result and missed truth, for one kind of AP: mask or boundary."""
    scored: list[_Scored] = []
    positives: Counter[int] = Counter()
    unmatched: dict[int, tuple[TruthTube, int]] = {}
    others: dict[int, list[TruthTube]] = defaultdict(list)
    for tube in evaluation.truth.tubes:
        if not tube.crowd:
            others[tube.video].append(tube)
    for index, (one, (found, truths)) in enumerate(
        zip(evaluation.matches[kind], evaluation.members, strict=True)
    ):
        category = one.group.category
        positives[category] += int(one.positives[0])
        matched = set(one.truth[0, 0][one.hit[0, 0]].tolist())
        for g, truth in enumerate(truths):
            if g not in matched and not one.group.truth_ignored[g]:
                unmatched[id(truth)] = truth, category
        # Right by mask: what the same result is by mask, when that was computed.
        by_mask = (evaluation.matches["mask"][index] if "mask" in evaluation.matches else one).hit[0, 0]
        for d, result in enumerate(found):
            error = None
            if one.miss[0, 0, d]:
                error = _error(
                    result, others[result.video], mask_hit=bool(by_mask[d]), pooled=evaluation.class_agnostic
                )
            if error or one.hit[0, 0, d]:
                scored.append(_Scored(category, result.score, error is None, error))
    scored.sort(key=lambda row: -row.score)
    return _analysis(scored, positives, unmatched)


def _analysis(
    scored: list[_Scored], positives: Counter[int], unmatched: dict[int, tuple[TruthTube, int]]
) -> ErrorAnalysis:
    errors = [row.error for row in scored if row.error]
    explained = {id(error.truth) for error in errors if error.type in _MENDABLE}
    missed = [truth for key, (truth, _) in unmatched.items() if key not in explained]
    missed.sort(key=lambda truth: -int(truth.masks.areas.sum()))
    counted = Counter([*(error.type for error in errors), *["missed"] * len(missed)])
    counts = {name: counted[name] for name in get_args(ErrorType) if counted[name]}
    base = _ap50(scored, positives)
    costs = {name: _ap50(*_mended(scored, positives, name, unmatched, missed)) - base for name in counts}
    return ErrorAnalysis(base, counts, costs, errors, missed)


# ---------------------------------------------------------------- types


def _error(result: ResultTube, truths: list[TruthTube], *, mask_hit: bool, pooled: bool) -> TubeError:
    ious = mask_ious([result.masks], [truth.masks for truth in truths])[0].tolist()
    best = int(np.argmax(ious)) if truths else -1
    nothing = TubeError(result, "background", None, 0.0)
    if best < 0 or ious[best] == 0:
        return nothing
    same = [i for i, truth in enumerate(truths) if pooled or truth.category == result.category]
    own = max(same, key=lambda i: ious[i], default=-1)

    def of(kind: ErrorType, index: int) -> TubeError:
        return TubeError(result, kind, truths[index], ious[index])

    if own >= 0 and ious[own] >= FOREGROUND:
        return of("boundary" if mask_hit else "duplicate", own)
    if ious[best] >= FOREGROUND:
        return of("class", best)
    followed = _followed(result.masks, truths)
    if len(followed) >= 2:
        return of("identity switch", followed[0])
    if followed and _iou_while_there(result.masks, truths[followed[0]].masks) >= FOREGROUND:
        return of("fragment", followed[0])
    return of("localisation", best) if ious[best] >= TOUCH else nothing


def _followed(masks: TubeMasks, truths: list[TruthTube]) -> list[int]:
    """Truths that the result overlaps well in at least a tenth of its frames (and two), most first."""
    present = int(np.count_nonzero(masks.areas))
    least = max(2, present / 10) if present > 1 else 1
    frames = {
        i: int(np.count_nonzero(_frame_ious(masks, truth.masks) >= FOREGROUND))
        for i, truth in enumerate(truths)
    }
    return [i for i, count in Counter(frames).most_common() if count >= least]


def _frame_ious(a: TubeMasks, b: TubeMasks) -> NDArray[np.float64]:
    """IoU in each frame that both cover."""
    frames = min(len(a), len(b))
    common = intervals.overlap(a, b, frames)
    union = a.areas[:frames] + b.areas[:frames] - common
    ious: NDArray[np.float64] = common / np.maximum(union, 1)
    return ious


def _iou_while_there(a: TubeMasks, b: TubeMasks) -> float:
    """Tube IoU over the frames where ``a`` is present."""
    frames = min(len(a), len(b))
    present = a.areas[:frames] > 0
    total = int(a.areas[:frames].sum() + b.areas[:frames][present].sum())
    common = int(intervals.overlap(a, b, frames).sum())
    return common / (total - common) if total else 0.0


# ---------------------------------------------------------------- costs


def _mended(
    scored: list[_Scored],
    positives: Counter[int],
    error_type: str,
    unmatched: dict[int, tuple[TruthTube, int]],
    missed: list[TruthTube],
) -> tuple[list[_Scored], Counter[int]]:
    """The results as if one type of error did not exist: made right where a truth waits, else left out."""
    if error_type == "missed":
        fewer = positives.copy()
        for truth in missed:
            fewer[unmatched[id(truth)][1]] -= 1
        return scored, fewer
    waiting = {key: category for key, (_, category) in unmatched.items()}
    out = []
    for row in scored:
        if row.error is None or row.error.type != error_type:
            out.append(row)
        elif error_type in _MENDABLE:
            category = waiting.pop(id(row.error.truth), None)
            if category is not None:
                out.append(_Scored(category, row.score, True, None))
    return out, positives


def _ap50(scored: list[_Scored], positives: Counter[int]) -> float:
    """Mean over classes of the interpolated precision, from results in falling order of score."""
    rows: dict[int, list[bool]] = defaultdict(list)
    for row in scored:
        rows[row.category].append(row.hit)
    values = []
    for category, count in positives.items():
        if count > 0:
            hit = np.array(rows[category], bool)
            once = np.ones((1, len(hit)), np.int64)
            values.append(mean_precision(hit, ~hit, once, np.array([count]))[0])
    return float(np.mean(values)) if values else -1.0

"""Where AP was lost: every false tube and every missed truth gets one reason.

In the spirit of TIDE (Bolya et al., ECCV 2020), with reasons that only tubes have. At IoU 0.5, all
sizes, a false result is, by the first of these that holds:

    duplicate        overlaps a truth of its class that a better result already took
    class            overlaps a truth of another class
    boundary         right by mask, wrong by boundary (for boundary AP only)
    identity switch  follows one truth for a while, then another
    fragment         right while it lasts, but it covers too little of the truth
    localisation     touches a truth (IoU at least 0.1), not well enough
    background       none of these

and a truth that nothing of that explains is *missed*. The cost of a reason is how much AP50 rises when
only its errors are put right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.overlaps import mask_ious
from vis.evaluation.protocol import RECALLS
from vis.evaluation.records import ResultTube, TruthTube
from vis.evaluation.runs import Engine, TubeMasks, engine
from vis.evaluation.tubes import TubeEvaluation

__all__ = ["MEANINGS", "REASONS", "Diagnosis", "Verdict", "diagnose"]

MEANINGS = {
    "duplicate": "overlaps a truth of its class that a better result already took",
    "class": "overlaps a truth of another class",
    "boundary": "right by mask, wrong by boundary",
    "identity switch": "follows one truth for a while, then another",
    "fragment": "right while it lasts, but covers too little of the truth",
    "localisation": "touches a truth, not well enough",
    "background": "touches no truth to speak of",
    "missed": "a truth that nothing explains",
}
"""What each reason says, in one line, in the order in which they are tried."""
REASONS = (
    "class",
    "missed",
    "fragment",
    "identity switch",
    "boundary",
    "localisation",
    "duplicate",
    "background",
)
FOREGROUND, TOUCH = 0.5, 0.1
_MENDABLE = ("class", "boundary", "identity switch", "fragment", "localisation")


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One false result and why."""

    result: ResultTube
    """The result."""
    reason: str
    """One of :data:`REASONS`."""
    truth: TruthTube | None
    """The truth it should have been, if any."""
    iou: float
    """Mask tube IoU with that truth."""


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """The losses of one kind of AP."""

    ap50: float
    """AP at IoU 0.5."""
    counts: dict[str, int]
    """How many tubes failed for each reason."""
    costs: dict[str, float]
    """AP50 that would be won by mending only that reason."""
    verdicts: list[Verdict]
    """The false results, best score first."""
    missed: list[TruthTube]
    """Truths that nothing explains, largest first."""


@dataclass(slots=True)
class _Scored:
    """A result that counts, for recomputing AP50."""

    category: int
    score: float
    hit: bool
    verdict: Verdict | None


def diagnose(evaluation: TubeEvaluation, kind: str, compute: Engine | None = None) -> Diagnosis:
    """Find the reasons for one kind, mask or boundary."""
    compute = compute or engine()
    truths_of = defaultdict(list)
    for tube in evaluation.truth.tubes:
        if not tube.crowd:
            truths_of[tube.video].append(tube)
    scored: list[_Scored] = []
    positives: Counter[int] = Counter()
    unmatched: dict[int, tuple[TruthTube, int]] = {}
    for index, (one, (found, truths)) in enumerate(
        zip(evaluation.matches[kind], evaluation.members, strict=True)
    ):
        category = one.group.category
        positives[category] += int(one.positives[0])
        matched = set(one.truth[0, 0][one.hit[0, 0]].tolist())
        for g, truth in enumerate(truths):
            if g not in matched and not one.group.ignore[g]:
                unmatched[id(truth)] = truth, category
        # Right by mask: the same place in the verdict by mask, when that was computed.
        by_mask = (
            evaluation.matches["mask"][index].hit[0, 0] if "mask" in evaluation.matches else one.hit[0, 0]
        )
        for d, result in enumerate(found):
            if one.hit[0, 0, d]:
                scored.append(_Scored(category, result.score, True, None))
            elif one.miss[0, 0, d]:
                pooled = evaluation.class_agnostic
                verdict = _judge(
                    result, truths_of[result.video], compute, mask_hit=bool(by_mask[d]), pooled=pooled
                )
                scored.append(_Scored(category, result.score, False, verdict))
    scored.sort(key=lambda row: -row.score)
    verdicts = [row.verdict for row in scored if row.verdict]
    explained = {id(v.truth) for v in verdicts if v.reason in _MENDABLE}
    missed = [truth for key, (truth, _) in unmatched.items() if key not in explained]
    missed.sort(key=lambda truth: -int(truth.masks.areas.sum()))
    counts = Counter(verdict.reason for verdict in verdicts) + Counter({"missed": len(missed)})
    base = _ap50(scored, positives)
    costs = {
        reason: _ap50(*_mended(scored, positives, reason, unmatched, missed)) - base
        for reason in REASONS
        if counts[reason]
    }
    return Diagnosis(base, {r: counts[r] for r in REASONS if counts[r]}, costs, verdicts, missed)


# ---------------------------------------------------------------- reasons


def _judge(
    result: ResultTube, truths: list[TruthTube], compute: Engine, *, mask_hit: bool, pooled: bool
) -> Verdict:
    ious = mask_ious([result.masks], [truth.masks for truth in truths], compute)[0].tolist()
    best = int(np.argmax(ious)) if truths else -1
    if best < 0 or ious[best] == 0:
        return Verdict(result, "background", None, 0.0)
    same = [i for i, truth in enumerate(truths) if pooled or truth.category == result.category]
    own = max(same, key=lambda i: ious[i], default=-1)

    def verdict(reason: str, index: int) -> Verdict:
        return Verdict(result, reason, truths[index], ious[index])

    if own >= 0 and ious[own] >= FOREGROUND:
        return verdict("boundary" if mask_hit else "duplicate", own)
    if ious[best] >= FOREGROUND:
        return verdict("class", best)
    followed = _followed(result.masks, truths, compute)
    if len(followed) >= 2:
        return verdict("identity switch", followed[0])
    if (
        len(followed) == 1
        and _iou_while_there(result.masks, truths[followed[0]].masks, compute) >= FOREGROUND
    ):
        return verdict("fragment", followed[0])
    return verdict("localisation", best) if ious[best] >= TOUCH else Verdict(result, "background", None, 0.0)


def _followed(masks: TubeMasks, truths: list[TruthTube], compute: Engine) -> list[int]:
    """Truths that the result overlaps well in at least a tenth of its frames (and two), most first."""
    present = int(np.count_nonzero(masks.areas))
    least = max(2, present / 10) if present > 1 else 1
    frames = {
        i: int(np.count_nonzero(_frame_ious(masks, truth.masks, compute) >= FOREGROUND))
        for i, truth in enumerate(truths)
    }
    return [i for i, count in Counter(frames).most_common() if count >= least]


def _frame_ious(a: TubeMasks, b: TubeMasks, compute: Engine) -> NDArray[np.float64]:
    """IoU in each frame that both cover."""
    frames = min(len(a), len(b))
    common = compute.overlap(a, b, frames)
    union = a.areas[:frames] + b.areas[:frames] - common
    ious: NDArray[np.float64] = common / np.maximum(union, 1)
    return ious


def _iou_while_there(a: TubeMasks, b: TubeMasks, compute: Engine) -> float:
    """Tube IoU over the frames where ``a`` is present."""
    frames = min(len(a), len(b))
    present = a.areas[:frames] > 0
    total = int(a.areas[:frames].sum() + b.areas[:frames][present].sum())
    common = int(compute.overlap(a, b, frames).sum())
    return common / (total - common) if total else 0.0


# ---------------------------------------------------------------- costs


def _mended(
    scored: list[_Scored],
    positives: Counter[int],
    reason: str,
    unmatched: dict[int, tuple[TruthTube, int]],
    missed: list[TruthTube],
) -> tuple[list[_Scored], Counter[int]]:
    """The results as if one reason did not exist: made right where a truth waits, else left out."""
    if reason == "missed":
        fewer = positives.copy()
        for truth in missed:
            fewer[unmatched[id(truth)][1]] -= 1
        return scored, fewer
    waiting = {key: category for key, (_, category) in unmatched.items()}
    out = []
    for row in scored:
        if row.verdict is None or row.verdict.reason != reason:
            out.append(row)
        elif reason in _MENDABLE:
            category = waiting.pop(id(row.verdict.truth), None)
            if category is not None:
                out.append(_Scored(category, row.score, True, None))
    return out, positives


def _ap50(scored: list[_Scored], positives: Counter[int]) -> float:
    """Mean over classes of the interpolated precision, from results in falling order of score."""
    rows: dict[int, list[bool]] = defaultdict(list)
    for row in scored:
        rows[row.category].append(row.hit)
    values = [_precision(np.array(rows[c], bool), n) for c, n in positives.items() if n > 0]
    return float(np.mean(values)) if values else -1.0


def _precision(hit: NDArray[np.bool_], positives: int) -> float:
    if not len(hit):
        return 0.0
    hits = np.cumsum(hit)
    envelope = np.maximum.accumulate((hits / np.arange(1, len(hit) + 1))[::-1])[::-1]
    at = np.searchsorted(hits / positives, RECALLS, side="left")
    return float(envelope[at[at < len(hit)]].sum() / len(RECALLS))

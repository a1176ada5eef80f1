"""Better tubes after the fact: cut, stitch across gaps, fill, drop, cap. Knows no frames and no model.

An online tracker decides with what it has seen so far; here the whole video is known. Each function
takes a ``VideoResult`` and gives a new one, so any saved result can be improved without detecting
again. ``link`` does all of it in order:

1. ``stitch``: where appearance is known, tubes are first cut where they may be wrong (at gaps and
   at sudden changes); then every end is matched with the beginning it fits best. A chain of pieces
   is a choice of one successor at most for each piece, so the best set of chains is a linear
   assignment of tails to heads: the global optimum, not a greedy pass.
2. ``fill``: short gaps get boxes in between, and the nearer mask moved along.
3. ``drop_short``, ``drop_unsure`` and ``keep_best``: as the benchmarks want it, the top k by score.

Where every object is to be in one tube only, ``merge_duplicates`` comes before ``fill``.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.assignment import match_pairs
from trackers.base import Index
from trackers.duplicates import merge_duplicates
from trackers.tracklet_affinity import End, Looks, LookScale, affinities, look_scale
from vis import masks as rle
from vis.errors import UsageError
from vis.structures import MaskRLE, Tube, VideoResult

__all__ = ["drop_empty", "drop_short", "drop_unsure", "fill", "keep_best", "link", "stitch"]

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


def link(
    result: VideoResult,
    looks: Looks | None = None,
    *,
    max_gap_seconds: float = 4.0,
    fill_seconds: float = 0.3,
    min_frames: int = 3,
    min_evidence: float = 0.0,
    top: int | None = None,
    prior: float | None = None,
    cut: bool = True,
    merge: bool = False,
) -> VideoResult:
    """Stitch, drop short and unsure tubes, fill, and keep the best ``top`` ones (None: all).

    Args:
        result: any result, online or offline; it is not changed.
        looks: tube id -> (L, D) appearance of each of its frames (``trackers.appearance`` makes
            them from the video; a detector's embeddings serve as well). None: motion and masks only.
        max_gap_seconds: no stitching across longer gaps.
        fill_seconds: gaps up to this long are filled; 0 fills none.
        min_frames: tubes with fewer frames are dropped, after stitching and before filling.
        min_evidence: so are tubes whose scores sum to less (``drop_unsure``).
        top: how many tubes to keep.
        prior: affinity of any link before looking, as for ``stitch``.
        cut: whether looks may undo what the tracker linked.
        merge: whether two tubes of one object become one (``trackers.duplicates``). Not for results that are
            evaluated: there, candidates that overlap are ranked.
    """
    linked = stitch(result, looks, max_gap_seconds=max_gap_seconds, prior=prior, cut=cut)
    linked = drop_unsure(drop_short(linked, min_frames), min_evidence)
    if merge:
        linked = merge_duplicates(linked)
    linked = fill(linked, max_gap_seconds=fill_seconds)
    if top is not None:
        linked = keep_best(linked, top)
    options = {
        "max_gap_seconds": max_gap_seconds,
        "fill_seconds": fill_seconds,
        "min_frames": min_frames,
        "min_evidence": min_evidence,
        "top": top,
        "looks": looks is not None,
        "tubes_before": len(result.tubes),
        "tubes_after": len(linked.tubes),
    }
    return replace(linked, made_with=MappingProxyType({**result.made_with, "linking": options}))


def stitch(
    result: VideoResult,
    looks: Looks | None = None,
    *,
    max_gap_seconds: float = 4.0,
    prior: float | None = None,
    trust: float = 0.5,
    cut: bool = True,
) -> VideoResult:
    """Cut tubes where they may be wrong and chain the pieces anew, at the greatest total affinity.

    Args:
        result: any result; it is not changed.
        looks: tube id -> (L, D) appearance per frame, or None.
        max_gap_seconds: longest gap inside a chain.
        prior: affinity, in nats, of any link before looking: that what vanished comes back. Lower
            values link less. None: 2 with looks, which tell those that come back from newcomers,
            and -2 without.
        trust: affinity added to a link that the online tracker had made.
        cut: whether looks may undo what the tracker linked; otherwise its tubes are only joined.

    Returns:
        A result whose tubes are the chains. A chain keeps the id of the tube that most of it comes
        from, unless a longer chain has it; its label is the one with most score behind it, and its
        score the mean over its frames of the scores of the tubes they come from.

    Raises:
        UsageError: ``looks`` do not fit the tubes.
    """
    _check_looks(result, looks)
    if not result.tubes:
        return result
    scale = look_scale(result.tubes, looks) if looks else None
    pieces, ends = _pieces(result, looks, scale if cut else None)
    tails, heads = _may_follow(ends, max_gap_seconds)
    if prior is None:
        prior = -2.0 if looks is None else 2.0
    affinity = prior + affinities(ends, tails, heads, scale, result.video.size)
    # Pieces lie in order, so the next one of the same tube is what the tracker had linked.
    origin = np.array([piece.id for piece in pieces])
    affinity += trust * ((origin[tails] == origin[heads]) & (heads == tails + 1))
    chains = _chains(len(pieces), tails, heads, affinity)
    return _with_tubes(result, _join_all([[pieces[i] for i in chain] for chain in chains]))


def fill(result: VideoResult, *, max_gap_seconds: float = 0.3) -> VideoResult:
    """Give every tube its missing frames in gaps no longer than this, among the processed frames.

    Boxes and scores are interpolated over time. A mask is that of the nearer end of the gap, moved
    by whole pixels with the box's centre: a start for a refiner, not a measurement. Tubes without
    masks stay without.
    """
    seconds = result.pts_seconds
    tubes = []
    for tube in result.tubes:
        place = np.searchsorted(result.frames, tube.frames)
        gap = np.diff(seconds[place])
        missing = np.diff(place) > 1
        short = np.flatnonzero(missing & (gap <= max_gap_seconds + 1e-6))
        inside = [np.arange(place[k] + 1, place[k + 1]) for k in short]
        if inside:
            tube = _filled(tube, place, np.concatenate(inside), result)
        tubes.append(tube)
    return _with_tubes(result, tubes)


def drop_short(result: VideoResult, min_frames: int) -> VideoResult:
    """Without the tubes of fewer than ``min_frames`` frames."""
    return _with_tubes(result, [tube for tube in result.tubes if len(tube) >= min_frames])


def drop_unsure(result: VideoResult, min_evidence: float) -> VideoResult:
    """Without the tubes whose scores sum to less than ``min_evidence``: short ones must be surer than long ones."""
    return _with_tubes(result, [tube for tube in result.tubes if float(tube.scores.sum()) >= min_evidence])


def drop_empty(result: VideoResult) -> VideoResult:
    """Without the frames of a tube on which its mask has no pixel, and without tubes of nothing else."""
    tubes = []
    for tube in result.tubes:
        if tube.masks is not None:
            seen = np.flatnonzero([rle.area(mask) > 0 for mask in tube.masks])
            if not len(seen):
                continue
            tube = tube if len(seen) == len(tube) else _rows(tube, seen)
        tubes.append(tube)
    return _with_tubes(result, tubes)


def keep_best(result: VideoResult, top: int) -> VideoResult:
    """The ``top`` tubes of the highest score, as benchmarks cap them; of equals, the lower ids."""
    if top < 0:
        raise UsageError(f"top: expected 0 or more, got {top}")
    best = sorted(result.tubes, key=lambda tube: (-tube.score, tube.id))[:top]
    return _with_tubes(result, best)


def _check_looks(result: VideoResult, looks: Looks | None) -> None:
    for tube in result.tubes if looks else ():
        rows = np.shape((looks or {}).get(tube.id, ()))
        if len(rows) != 2 or rows[0] != len(tube):
            raise UsageError(
                f"looks of tube {tube.id}: expected ({len(tube)}, D), a row per frame of the tube, got {rows}"
            )


def _pieces(
    result: VideoResult, looks: Looks | None, scale: LookScale | None
) -> tuple[list[Tube], list[End]]:
    """The tubes in order, cut where ``scale`` says that they may be wrong; and what each piece's ends look like."""
    seconds = dict(zip(result.frames.tolist(), result.pts_seconds.tolist(), strict=True))
    places = dict(zip(result.frames.tolist(), range(len(result.frames)), strict=True))
    pieces: list[Tube] = []
    ends: list[End] = []
    for tube in result.tubes:
        of_tube = looks[tube.id] if looks else None
        times = np.array([seconds[index] for index in tube.frames.tolist()])
        position = np.array([places[index] for index in tube.frames.tolist()])
        cuts = np.zeros(len(tube) - 1, bool)
        if of_tube is not None and scale is not None:
            # Without looks there is nothing to judge the tracker's own decisions by.
            cuts = (np.diff(position) > 1) | scale.breaks(of_tube)
        for rows in np.split(np.arange(len(tube)), np.flatnonzero(cuts) + 1):
            pieces.append(_rows(tube, rows))
            ends.append(End.of(pieces[-1], times[rows], None if of_tube is None else of_tube[rows]))
    return pieces, ends


def _may_follow(ends: list[End], max_gap_seconds: float) -> tuple[Index, Index]:
    """Pairs (tail, head): pieces of which the second begins after the first has ended, but not too long after."""
    first = np.array([end.first_second for end in ends])
    last = np.array([end.last_second for end in ends])
    gap = first[None, :] - last[:, None]
    tails, heads = np.nonzero((gap > 0) & (gap <= max_gap_seconds + 1e-6))
    return tails, heads


def _chains(count: int, tails: Index, heads: Index, affinity: NDArray[np.float64]) -> list[list[int]]:
    """The ``count`` pieces as chains of the greatest total affinity: their indices, in order of time."""
    worth = np.flatnonzero(affinity > 0)
    tails, heads, affinity = tails[worth], heads[worth], affinity[worth]
    taken = match_pairs(tails, heads, affinity)
    following = dict(zip(tails[taken].tolist(), heads[taken].tolist(), strict=True))
    chains = []
    for start in sorted(set(range(count)) - set(following.values())):
        chain = [start]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append(chain)
    return chains


def _rows(tube: Tube, rows: NDArray[Any]) -> Tube:
    """The given rows of a tube."""
    masks = None if tube.masks is None else tuple(tube.masks[row] for row in rows.tolist())
    return replace(
        tube, frames=tube.frames[rows], boxes=tube.boxes[rows], scores=tube.scores[rows], masks=masks
    )


def _join_all(chains: list[list[Tube]]) -> list[Tube]:
    """One tube for each chain of pieces; longer chains choose their id first."""
    free = max((piece.id for chain in chains for piece in chain), default=0) + 1
    used: set[int] = set()
    tubes = []
    for chain in sorted(chains, key=lambda chain: -sum(map(len, chain))):
        share: dict[int, int] = {}
        for piece in chain:
            share[piece.id] = share.get(piece.id, 0) + len(piece)
        wanted = sorted((id_ for id_ in share if id_ not in used), key=lambda id_: -share[id_])
        name = wanted[0] if wanted else free
        free += not wanted
        used.add(name)
        tubes.append(_join(chain, name))
    return tubes


def _join(chain: list[Tube], name: int) -> Tube:
    """The pieces as one tube. A tube keeps masks only if all of its pieces have them."""
    weight: dict[int, float] = {}
    for piece in chain:
        weight[piece.label] = weight.get(piece.label, 0.0) + float(piece.scores.sum())
    masks: tuple[MaskRLE, ...] | None = ()
    for piece in chain:
        masks = None if masks is None or piece.masks is None else masks + piece.masks
    total = sum(len(piece) for piece in chain)
    return Tube(
        id=name,
        label=max(weight, key=lambda label: (weight[label], -label)),
        score=sum(piece.score * len(piece) for piece in chain) / total,
        frames=np.concatenate([piece.frames for piece in chain]),
        boxes=np.concatenate([piece.boxes for piece in chain]),
        scores=np.concatenate([piece.scores for piece in chain]),
        masks=masks,
    )


def _filled(tube: Tube, place: NDArray[Any], missing: NDArray[Any], result: VideoResult) -> Tube:
    """The tube with rows for the processed frames at the places ``missing``, all inside of it."""
    seconds = result.pts_seconds
    known, wanted = seconds[place], seconds[missing]
    boxes = np.stack([np.interp(wanted, known, tube.boxes[:, k]) for k in range(4)], axis=1)
    scores = np.interp(wanted, known, tube.scores)
    masks = tube.masks
    if masks is not None:
        after = np.searchsorted(place, missing)
        nearer = np.where(wanted - known[after - 1] <= known[after] - wanted, after - 1, after)
        moved = (
            _moved(masks[row], tube.boxes[row], box) for row, box in zip(nearer.tolist(), boxes, strict=True)
        )
        masks = (*masks, *moved)
    order = np.argsort(np.concatenate([place, missing]), kind="stable")
    return replace(
        tube,
        frames=np.concatenate([tube.frames, result.frames[missing]])[order],
        boxes=np.concatenate([tube.boxes, boxes.astype(np.float32)])[order],
        scores=np.concatenate([tube.scores, scores.astype(np.float32)])[order],
        masks=None if masks is None else tuple(masks[row] for row in order.tolist()),
    )


def _moved(mask: MaskRLE, old: Float32, new: NDArray[Any]) -> MaskRLE:
    """The mask moved by whole pixels with its box's centre; what leaves the picture is lost."""
    right, down = np.rint((new[:2] + new[2:] - old[:2] - old[2:]) / 2).astype(int).tolist()
    picture = rle.decode(mask)
    height, width = picture.shape
    out = np.zeros_like(picture)
    out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = picture[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return rle.encode(out)


def _with_tubes(result: VideoResult, tubes: list[Tube]) -> VideoResult:
    return replace(result, tubes=tuple(sorted(tubes, key=lambda tube: tube.id)))

"""J and F of the DAVIS benchmarks: region overlap and contour accuracy, per object, over a clip.

Definitions: Perazzi et al., CVPR 2016 (J, F, and the statistics over time); Pont-Tuset et al., arXiv
1704.00675 (several objects); Caelles et al., arXiv 1905.00737 (unsupervised). The contour's
tolerance is found with a distance transform, which gives what dilating with a disk gives.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vis.errors import EvaluationWarning, InputError
from vis.evaluation.image_masks import read_pixels
from vis.files import files_under
from vis.masks import dense_iou

__all__ = [
    "ClipScores",
    "Series",
    "clips",
    "contour",
    "contour_f",
    "evaluate_clip",
    "evaluate_folders",
    "mean_scores",
    "read_labels",
    "region_j",
    "statistics",
]

Bool = NDArray[np.bool_]
Labels = NDArray[np.uint8]

BOUND = 0.008
"""Contour tolerance as a share of the diagonal."""
VOID = (254, 255)
MAX_PROPOSALS = 20


@dataclass(frozen=True, slots=True)
class Series:
    """One measure of one object over time."""

    mean: float
    """Mean over frames."""
    recall: float
    """Share of frames above 0.5."""
    decay: float
    """Mean of the first quarter minus mean of the last."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """J and F of every object of a clip."""

    objects: dict[int, tuple[Series, Series]]
    """Object id -> (J, F)."""
    void_pixels: int
    """Pixels that were not judged."""


def region_j(result: Bool, truth: Bool, void: Bool | None = None) -> float:
    """Intersection over union of two bool (H, W) masks; 1 when both are empty."""
    if void is not None:
        result, truth = result & ~void, truth & ~void
    return dense_iou(result, truth)


def contour(mask: Bool) -> Bool:
    """Pixels that differ from their right, lower or lower right neighbour (the benchmark's seg2bmap)."""
    # Repeating the last row and column makes a neighbour outside equal to the border pixel.
    wide = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    out: Bool = (mask != wide[:-1, 1:]) | (mask != wide[1:, :-1]) | (mask != wide[1:, 1:])
    return out


def contour_f(result: Bool, truth: Bool, void: Bool | None = None, bound: float = BOUND) -> float:
    """F measure of two masks' contours, matched within ``ceil(bound * diagonal)`` pixels."""
    if void is not None:
        result, truth = result & ~void, truth & ~void
    radius = math.ceil(bound * math.hypot(*truth.shape))
    ours, theirs = contour(result), contour(truth)
    count_ours, count_theirs = int(ours.sum()), int(theirs.sum())
    if not count_ours or not count_theirs:
        return 1.0 if count_ours == count_theirs else 0.0
    precision = int((ours & _near(theirs, radius)).sum()) / count_ours
    recall = int((theirs & _near(ours, radius)).sum()) / count_theirs
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(points: Bool, radius: int) -> Bool:
    """Pixels within ``radius`` of a point: what dilation with a disk gives."""
    import cv2

    away = cv2.distanceTransform((~points).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers; half of one is more than float32 can err.
    near: Bool = np.square(away, dtype=np.float64) <= radius * radius + 0.5
    return near


def statistics(values: Sequence[float] | NDArray[np.float64]) -> Series:
    """Mean, recall and decay of a measure over the frames of a clip."""
    rows = np.asarray(values, np.float64)
    edges = (np.round(np.linspace(1, len(rows), 5) + 1e-10) - 1).astype(int)
    first, last = rows[edges[0] : edges[1] + 1], rows[edges[3] : edges[4] + 1]
    return Series(float(rows.mean()), float((rows > 0.5).mean()), float(first.mean() - last.mean()))


def evaluate_clip(
    truth: Sequence[Labels], results: Sequence[Labels], *, unsupervised: bool = False
) -> ClipScores:
    """Score one clip of label images, uint8 (H, W) each, as :func:`read_labels` gives them.

    Semi-supervised: results carry the truth's ids; the first and last frame are not judged, as the
    benchmark does. Unsupervised: all frames; proposals (at most 20) are assigned to objects so
    that the mean J&F is best.
    """
    objects = sorted({int(i) for frame in truth for i in np.unique(frame)} - {0, *VOID})
    if not objects:
        raise InputError("the truth of this clip holds no object")
    if not unsupervised:
        if len(truth) < 3:
            raise InputError(f"{len(truth)} frames: the first and last are not judged, so 3 are needed")
        truth, results = truth[1:-1], results[1:-1]
    voids = [np.isin(frame, VOID) for frame in truth]
    proposals = objects
    if unsupervised:
        proposals = sorted({int(i) for frame in results for i in np.unique(frame)} - {0, *VOID})
        if len(proposals) > MAX_PROPOSALS:
            raise InputError(f"{len(proposals)} proposals; the benchmark allows {MAX_PROPOSALS}")
    pairs = [(i, p) for i in objects for p in proposals] if unsupervised else [(i, i) for i in objects]
    j = {pair: np.zeros(len(truth)) for pair in pairs}
    f = {pair: np.zeros(len(truth)) for pair in pairs}
    for t, (wanted, found, void) in enumerate(zip(truth, results, voids, strict=True)):
        ignored = void if void.any() else None
        for i, p in pairs:
            j[i, p][t] = region_j(found == p, wanted == i, ignored)
            f[i, p][t] = contour_f(found == p, wanted == i, ignored)
    chosen = _assign(objects, proposals, j, f) if unsupervised else {i: i for i in objects}
    nothing = np.zeros(len(truth))
    scores = {
        i: (statistics(j.get((i, chosen[i]), nothing)), statistics(f.get((i, chosen[i]), nothing)))
        for i in objects
    }
    return ClipScores(scores, int(sum(void.sum() for void in voids)))


def _assign(
    objects: list[int],
    proposals: list[int],
    j: dict[tuple[int, int], NDArray[np.float64]],
    f: dict[tuple[int, int], NDArray[np.float64]],
) -> dict[int, int]:
    """Object -> proposal with the best mean of J and F; -1 where there are too few proposals."""
    from scipy.optimize import linear_sum_assignment

    quality = np.array([[(j[i, p] + f[i, p]).mean() / 2 for p in proposals] for i in objects])
    chosen = dict.fromkeys(objects, -1)
    if proposals:
        rows, columns = linear_sum_assignment(quality, maximize=True)
        chosen |= {objects[r]: proposals[c] for r, c in zip(rows, columns, strict=True)}
    return chosen


# ---------------------------------------------------------------- files


def evaluate_folders(truth: Path, results: Path, *, unsupervised: bool = False) -> dict[str, ClipScores]:
    """The scores of each clip under ``truth`` against the label images of the same names under ``results``.

    Raises :class:`InputError` that names the clip. Clips of the results that are not in the truth are not
    scored, with a warning.
    """
    wanted, given = clips(truth), clips(results)
    if unknown := sorted(given.keys() - wanted.keys()):
        warnings.warn(
            f"{results / unknown[0]}: no clip of the truth ({len(unknown)} such); it is not scored",
            EvaluationWarning,
            stacklevel=2,
        )
    scores = {}
    for clip, paths in wanted.items():
        found = {path.name: path for path in given.get(clip, [])}
        missing = [path.name for path in paths if path.name not in found]
        if missing:
            raise InputError(
                f"{results / clip}: {missing[0]} is missing ({len(missing)} of {len(paths)} frames); "
                "results need one label image per frame of the truth, of the same name"
            )
        labels, theirs = read_labels(paths), read_labels([found[path.name] for path in paths])
        for path, a, b in zip(paths, labels, theirs, strict=True):
            if a.shape != b.shape:
                raise InputError(f"{found[path.name]}: size {b.shape}, expected {a.shape} as in the truth")
        try:
            scores[clip] = evaluate_clip(labels, theirs, unsupervised=unsupervised)
        except InputError as error:
            raise InputError(f"{truth / clip}: {error}") from error
    return scores


def mean_scores(objects: Sequence[tuple[Series, Series]]) -> dict[str, float]:
    """Means over at least one object: J, F, their recall and decay, and JF, the mean of J and F."""
    out = {}
    for k, name in enumerate("JF"):
        for field in ("mean", "recall", "decay"):
            key = name if field == "mean" else f"{name}_{field}"
            out[key] = sum(getattr(pair[k], field) for pair in objects) / len(objects)
    return {"JF": (out["J"] + out["F"]) / 2} | out


def read_labels(paths: Sequence[Path]) -> list[Labels]:
    """The label images of one clip: palette indices or grey values, uint8 (H, W).

    A clip whose only value beside 0 is 255 is DAVIS 2016 style: 255 is its one object, not void.
    """
    frames = []
    for path in paths:
        pixels = read_pixels(path)
        if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.bool_):
            raise InputError(f"{path}: expected an 8-bit label image, got {pixels.dtype}{list(pixels.shape)}")
        frames.append(pixels.astype(np.uint8))
    values = {int(v) for frame in frames for v in np.unique(frame)}
    if values <= {0, 255}:
        frames = [(frame != 0).astype(np.uint8) for frame in frames]
    return frames


def clips(folder: Path) -> dict[str, list[Path]]:
    """The label images of each clip under ``folder``, in order; a flat folder is one clip ``.``."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    out: dict[str, list[Path]] = {}
    for path in files_under(folder):
        if path.suffix.lower() == ".png":
            out.setdefault(path.relative_to(folder).parent.as_posix(), []).append(path)
    if not out:
        raise InputError(f"{folder}: holds no .png; expected <clip>/00000.png")
    return out

"""Everything mode: a grid of points instead of prompts (Segment Anything, arXiv 2304.02643, section 5).

Each point of a grid is a click; its mask is kept when the network is sure of it (predicted IoU), when
it hardly moves with the threshold (stability), and when no better mask has nearly the same box. Crops of
the frame repeat this at larger scale. Defaults and every rule follow the released generator.

A plain SAM gives each point's three masks; an HQ-SAM (a model with a residual) gives, as its reference does,
the best of the three with the HQ mask added. Points whose masks all miss the predicted IoU cost no mask, and
masks live as run lengths: memory does not grow with the number of points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vis import boxes as box_maths
from vis import masks as rle
from vis.errors import UsageError
from vis.interfaces import MaskPredictor
from vis.mask_prediction import LowResMasks
from vis.prompts import Prompts, check_image
from vis.structures import MaskRLE

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FoundMask",
    "crop_boxes",
    "find_everything",
    "find_proposals",
    "find_unfiltered",
    "point_grid",
    "remove_small_regions",
]

Box = tuple[int, int, int, int]
_EDGE = 20
"""A mask whose box comes this close to an inner crop border, in pixels, is cut off there, and dropped."""


@dataclass(frozen=True, slots=True)
class FoundMask:
    """One mask of everything mode."""

    mask: MaskRLE
    """At the frame's size."""
    box: Box
    """x0, y0, x1, y1 around the mask in pixels, half-open; zeros when it is empty."""
    predicted_iou: float
    """The network's own estimate."""
    stability: float
    """IoU in [0, 1] of the masks at thresholds one above and one below."""
    point: tuple[float, float]
    """x, y of the click in frame pixels."""
    crop: Box
    """The crop that it was found in."""
    logits: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """(s, s) on the model's low-resolution square of the crop; only with ``keep_logits``."""


def find_everything(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    *,
    points_per_side: int = 32,
    predicted_iou: float = 0.88,
    stability: float = 0.95,
    stability_offset: float = 1.0,
    box_nms: float = 0.7,
    crop_layers: int = 0,
    crop_nms: float = 0.7,
    crop_overlap: float = 512 / 1500,
    crop_points_divisor: int = 1,
    min_area: int = 0,
    keep_logits: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[FoundMask]:
    """All masks of one frame, best predicted IoU first within each crop.

    Args:
        predictor: a SAM, an HQ-SAM, or another mask model.
        image: RGB uint8 (H, W, 3).
        points_per_side: the grid is this many points squared.
        predicted_iou: masks above this are kept.
        stability: masks at or above this are kept.
        stability_offset: how far the threshold moves for it, in logits.
        box_nms: of masks whose boxes overlap more than this IoU, the one of higher predicted IoU stays.
        crop_layers: layer i repeats all on 2**i x 2**i crops.
        crop_nms: like ``box_nms`` between crops; the smaller crop wins.
        crop_overlap: overlap of the first layer's crops, as a share of the frame's shorter side.
        crop_points_divisor: the grid of layer i has fewer points per side by this to the power of i.
        min_area: holes and islands below this many pixels are removed; 0 leaves all.
        keep_logits: each mask brings the logits that it was made of: 256 KiB for every published size.
        progress: called with points done and points in all.
    """
    image = check_image(image)
    if points_per_side < 1 or crop_layers < 0 or crop_points_divisor < 1:
        raise UsageError(
            f"points_per_side {points_per_side}, crop_layers {crop_layers}, crop_points_divisor "
            f"{crop_points_divisor}: expected at least 1, 0 and 1"
        )
    frame = (image.shape[0], image.shape[1])
    crops = list(crop_boxes(frame, crop_layers, crop_overlap))
    grids = [point_grid(max(1, points_per_side // crop_points_divisor**i)) for i in range(crop_layers + 1)]
    total = sum(len(grids[layer]) for _, layer in crops)
    done = 0
    found: list[FoundMask] = []
    for crop, layer in crops:
        in_crop = []
        limits = predicted_iou, stability, stability_offset
        search = _search(predictor, image, crop, grids[layer], limits=limits, keep_logits=keep_logits)
        for point, mask in search:
            if mask is not None:
                in_crop.append(mask)
            if progress is not None:
                progress(done + point, total)
        done += len(grids[layer])
        scores = np.array([mask.predicted_iou for mask in in_crop])
        found += [in_crop[row] for row in _suppress(in_crop, scores, box_nms)]
    if len(crops) > 1:
        found = [
            found[row] for row in _suppress(found, np.array([1 / _area(f.crop) for f in found]), crop_nms)
        ]
    if min_area > 0:
        found = _clean(found, min_area, max(box_nms, crop_nms))
    return found


def find_unfiltered(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    *,
    points_per_side: int,
    box_nms: float,
    keep_logits: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[FoundMask]:
    """Every mask of the grid, whatever the network thinks of it; only box suppression drops some.

    What the zero-shot experiments of Segment Anything start from. Arguments and errors of :func:`find_everything`.
    """
    return find_everything(
        predictor,
        image,
        points_per_side=points_per_side,
        predicted_iou=-math.inf,
        stability=0.0,
        box_nms=box_nms,
        keep_logits=keep_logits,
        progress=progress,
    )


def find_proposals(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    *,
    points_per_side: int = 64,
    box_nms: float = 0.9,
    max_proposals: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[FoundMask, float]]:
    """Object proposals with their scores, best first (Segment Anything, section 7.3 and appendix D.3).

    :func:`find_unfiltered` without empty masks. The score is the mean of predicted IoU and stability; the best
    ``max_proposals`` are kept. ``image``: RGB uint8 (H, W, 3). Raises as :func:`find_everything`.
    """
    found = find_unfiltered(
        predictor, image, points_per_side=points_per_side, box_nms=box_nms, progress=progress
    )
    scored = [(item, (item.predicted_iou + item.stability) / 2) for item in found if rle.area(item.mask)]
    return sorted(scored, key=lambda pair: -pair[1])[:max_proposals]


def point_grid(per_side: int) -> NDArray[np.float64]:
    """(per_side**2, 2) x, y in [0, 1]: cell centres, row by row."""
    centres = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(centres, centres)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def crop_boxes(frame: tuple[int, int], layers: int, overlap: float) -> Iterator[tuple[Box, int]]:
    """Crops with their layer: the frame itself, then 2 x 2, 4 x 4, ... overlapping ones."""
    height, width = frame
    yield (0, 0, width, height), 0
    for layer in range(1, layers + 1):
        side = 2**layer
        shared = int(overlap * min(frame) * 2 / side)
        w, h = (math.ceil((shared * (side - 1) + length) / side) for length in (width, height))
        for i, j in product(range(side), repeat=2):
            x, y = (w - shared) * i, (h - shared) * j
            yield (x, y, min(x + w, width), min(y + h, height)), layer


def _search(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    crop: Box,
    grid: NDArray[np.float64],
    *,
    limits: tuple[float, float, float],
    keep_logits: bool,
) -> Iterator[tuple[int, FoundMask | None]]:
    """(points done, a mask that passed or None) over one crop, in the order of points and of their masks.

    ``limits``: of predicted IoU and of stability, and the offset that stability is measured with.
    """
    min_iou, min_stability, offset = limits
    x0, y0, x1, y1 = crop
    frame = (image.shape[0], image.shape[1])
    embedding = predictor.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))
    points = grid * (x1 - x0, y1 - y0)
    clicks = points.astype(np.float32)[:, None]
    prompts = Prompts(len(points), None, clicks, np.ones((len(points), 1), np.int64), None)
    parts = predictor.predict_masks(embedding, prompts, slice(1, 4), min_iou=min_iou)
    for row, candidates in (found for part in parts for found in _candidates(part)):
        yield row, None
        for logits, score in candidates:
            if score <= min_iou:
                continue
            (inner,), (dense,), (outer,) = predictor.logits_to_masks(
                logits[None], (y1 - y0, x1 - x0), levels=(offset, 0.0, -offset)
            )
            whole = int(outer.sum())
            steady = int(inner.sum()) / whole if whole else 0.0
            if steady < min_stability:
                continue
            box = _around(dense, crop)
            if _cut_off(box, crop, frame):
                continue
            full = np.zeros(frame, np.bool_)
            full[y0:y1, x0:x1] = dense
            at = float(points[row, 0]) + x0, float(points[row, 1]) + y0
            # A copy: a view would keep the logits of all objects of the part.
            kept = logits.float().cpu().numpy().copy() if keep_logits else None
            yield row, FoundMask(rle.encode(full), box, score, steady, at, crop, kept)
    yield len(grid), None


def _candidates(part: LowResMasks) -> Iterator[tuple[int, list[tuple[Tensor, float]]]]:
    """Each object with logits (s, s) and scores: of its three, or of the best of them with the residual added."""
    for i, row in enumerate(part.rows):
        scores: list[float] = part.scores[i, 1:].tolist()
        if part.residual is None:
            yield row, list(zip(part.logits[i], scores, strict=True))
        else:
            best = scores.index(max(scores))
            yield row, [(part.logits[i, best] + part.residual[i], scores[best])]


def _around(mask: NDArray[np.bool_], crop: Box) -> Box:
    """Box of a crop's mask in frame pixels, half-open; at the crop's corner and empty when the mask is."""
    x0, y0, x1, y1 = rle.extent(mask) or (0, 0, 0, 0)
    return x0 + crop[0], y0 + crop[1], x1 + crop[0], y1 + crop[1]


def _inclusive(box: Box) -> Box:
    """Last pixels instead of ends, as the released generator measures boxes."""
    return box[0], box[1], max(box[2] - 1, box[0]), max(box[3] - 1, box[1])


def _cut_off(box: Box, crop: Box, frame: tuple[int, int]) -> bool:
    """Whether a side lies near the crop's border where that is not the frame's."""
    border = (0, 0, frame[1], frame[0])
    sides = zip(_inclusive(box), crop, border, strict=True)
    return any(abs(side - inner) <= _EDGE and abs(side - outer) > _EDGE for side, inner, outer in sides)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _suppress(found: list[FoundMask], scores: NDArray[np.float64], threshold: float) -> list[int]:
    """Rows that survive box suppression, highest score first."""
    if not found:
        return []
    boxes = np.array([_inclusive(mask.box) for mask in found], np.float32)
    kept: list[int] = box_maths.nms(boxes, scores.astype(np.float32), threshold).tolist()
    return kept


def _clean(found: list[FoundMask], min_area: int, threshold: float) -> list[FoundMask]:
    """Small holes filled and islands removed; of masks that became alike, an unchanged one stays."""
    cleaned, scores = [], []
    for item in found:
        dense, filled = remove_small_regions(rle.decode(item.mask), min_area, holes=True)
        dense, dropped = remove_small_regions(dense, min_area, holes=False)
        changed = filled or dropped
        height, width = dense.shape
        box = _around(dense, (0, 0, width, height))
        cleaned.append(replace(item, mask=rle.encode(dense), box=box) if changed else item)
        scores.append(0.0 if changed else 1.0)
    return [cleaned[row] for row in _suppress(cleaned, np.array(scores), threshold)]


def remove_small_regions(
    mask: NDArray[np.bool_], min_area: int, *, holes: bool
) -> tuple[NDArray[np.bool_], bool]:
    """Fill holes, or drop islands, of fewer than ``min_area`` pixels (8-connected); and whether any were.

    When every island is small the largest one stays.
    """
    import cv2

    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        (mask ^ holes).astype(np.uint8), connectivity=8
    )
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = 1 + np.flatnonzero(sizes < min_area)
    if not len(small):
        return mask, False
    if holes:
        return np.isin(regions, [0, *small]), True
    large = np.setdiff1d(np.arange(1, count), small)
    return np.isin(regions, large if len(large) else [1 + int(sizes.argmax())]), True

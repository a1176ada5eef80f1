"""``vistubes eval masks``: a model on folders of images, prompted from the truth, as HQ-SAM's tables."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import refiners
from vis.errors import InputError, UsageError
from vis.evaluation.image_masks import (
    ImagePair,
    group_means,
    iou_and_boundary_iou,
    pair_folders,
    read_mask,
    read_pixels,
)
from vis.files import read_json
from vis.interfaces import MaskPredictor
from vis.masks import bounding_box, encode
from vis.prompt_policies import deepest_point, mask_prompt

__all__ = ["evaluate_folder", "prompts_from_truth"]


@dataclass(frozen=True, slots=True)
class _Prompts:
    """What every image is prompted with."""

    kind: str
    """box, mask or points."""
    points: int
    """How many."""
    coarse: Mapping[str, Path] | None
    """Image name -> file of its coarse mask; None prompts from the truth."""


def evaluate_folder(
    images: Path,
    masks: Path,
    *,
    model: str | Path,
    prompt: str = "box",
    coarse: Path | None = None,
    groups: Path | None = None,
    stride: int = 1,
    ratio: float = 0.02,
    device: str = "auto",
) -> tuple[dict[str, Any], str]:
    """The answer and the table of ``vistubes eval masks``; arguments are its options."""
    kind, count = _prompt_kind(prompt)
    pairs = pair_folders(images, masks, stride)
    if coarse is not None and kind != "mask":
        raise UsageError("--coarse gives the masks of --prompt mask; choose that prompt or leave it out")
    given = (
        None if coarse is None else {pair.name: pair.mask for pair in pair_folders(images, coarse, stride)}
    )
    group_of = None if groups is None else _groups(groups, pairs)
    predictor = refiners.create(model, device=device)
    rows: dict[str, dict[str, float]] = {}
    for number, pair in enumerate(pairs, 1):
        row = _score(predictor, pair, _Prompts(kind, count, given), ratio)
        if row is not None:
            rows[pair.name] = row
        if sys.stderr.isatty():
            print(f"\r{number}/{len(pairs)} {pair.name:<50.50}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    if not rows:
        raise InputError(f"all {len(pairs)} masks under {masks} are empty: there is nothing to prompt")
    about = {"model": str(model), "prompt": prompt, "stride": stride, "dilation_ratio": ratio}
    answer = _answer(about, rows, len(pairs) - len(rows), group_of)
    return answer, _table(answer)


def _prompt_kind(text: str) -> tuple[str, int]:
    kind, colon, number = text.partition(":")
    if kind in ("box", "mask") and not colon:
        return kind, 0
    if kind == "points" and number.isascii() and number.isdigit() and 1 <= int(number) <= 1000:
        return kind, int(number)
    raise UsageError(f"--prompt {text!r}: expected box, mask, or points:K with K from 1 to 1000")


def _score(
    predictor: MaskPredictor, pair: ImagePair, prompts: _Prompts, ratio: float
) -> dict[str, float] | None:
    """IoU and boundary IoU of one image, None when its mask is empty."""
    image, truth = read_pixels(pair.image, "RGB"), read_mask(pair.mask)
    if image.shape[:2] != truth.shape:
        raise InputError(f"{pair.mask}: size {truth.shape}, the image {pair.image.name} is {image.shape[:2]}")
    if not truth.any():
        return None
    seed = zlib.crc32(os.fsencode(pair.name))
    given: dict[str, Any]
    if prompts.kind == "mask":
        hint = _coarsened(truth) if prompts.coarse is None else _given(prompts.coarse, pair.name, truth.shape)
        given = {"masks": mask_prompt(hint[None], predictor.mask_side, alone=True)}
    else:
        given = prompts_from_truth(truth, prompts.kind, prompts.points, seed=seed)
    embedding = predictor.embed(image)
    mask = predictor.decode(embedding, **given).masks[0]
    iou, boundary = iou_and_boundary_iou(mask, truth, ratio=ratio)
    row = {"iou": iou, "biou": boundary}
    if prompts.kind == "points":
        # One click is ambiguous: SAM gives three masks, and the oracle takes the best of them.
        three = predictor.decode(embedding, **given, multimask=True)
        scores = [iou_and_boundary_iou(candidate, truth, ratio=ratio)[0] for candidate in three.masks[0]]
        row |= {"iou_best_score": scores[int(np.argmax(three.scores[0]))], "iou_oracle": max(scores)}
    return row


def _given(coarse: Mapping[str, Path], name: str, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The coarse mask of an image."""
    if name not in coarse:
        raise InputError(f"{name}: no coarse mask of this name")
    mask = read_mask(coarse[name])
    if mask.shape != size or not mask.any():
        raise InputError(f"{coarse[name]}: expected a mask of size {size} that is not empty")
    return mask


def prompts_from_truth(truth: NDArray[np.bool_], kind: str, count: int, *, seed: int) -> dict[str, Any]:
    """Arguments for ``decode`` from a mask (H, W) that is not empty.

    ``box``: its bounding box. ``points``: one point is the deepest (Segment Anything, section 7.1), more
    are drawn evenly from the mask with a fixed seed (as HQ-SAM's figure 5).
    """
    if kind == "box":
        return {"boxes": bounding_box(encode(truth))[None]}
    if count == 1:
        points = deepest_point(truth)[None, None]
    else:
        rows, columns = np.nonzero(truth)
        chosen = np.random.default_rng(seed).integers(0, len(rows), count)
        points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)[None]
    return {"points": points, "point_labels": np.ones(points.shape[:2], np.int64)}


def _coarsened(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask at 32 pixels of its longer side and back: an eighth of SAM's prompt resolution."""
    import cv2

    height, width = truth.shape
    scale = 32 / max(height, width)
    small = cv2.resize(
        truth.astype(np.float32),
        (max(1, round(width * scale)), max(1, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    level = min(0.5, float(small.max()))  # a thin object must not vanish
    back: NDArray[np.bool_] = (
        cv2.resize((small >= level).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    )
    return back


def _answer(
    about: Mapping[str, Any], rows: dict[str, dict[str, float]], skipped: int, groups: dict[str, str] | None
) -> dict[str, Any]:
    folders: dict[str, list[dict[str, float]]] = {}
    for name, row in rows.items():
        folders.setdefault(name.rpartition("/")[0] or ".", []).append(row)
    by_folder = {folder: _means(some) for folder, some in folders.items()}
    answer: dict[str, Any] = {
        **_means(list(rows.values())),
        "over_folders": _means([{k[1:]: v for k, v in means.items()} for means in by_folder.values()]),
        **about,
        "images": len(rows),
        "empty_masks_skipped": skipped,
        "per_folder": by_folder,
        "per_image": rows,
    }
    if groups is not None:
        means = group_means({name: row["iou"] for name, row in rows.items()}, groups)
        answer["per_group"] = {
            group: {"count": m.count, "miou": m.mean, "margin_95": m.margin if m.count > 1 else None}
            for group, m in means.items()
        }
    return answer


def _groups(path: Path, pairs: list[ImagePair]) -> dict[str, str]:
    """The group of each image, from a JSON object of texts or whole numbers."""
    groups = read_json(path)
    if not isinstance(groups, dict):
        raise InputError(f"{path}: expected an object that gives each image its group")
    wrong = [
        name for name, group in groups.items() if isinstance(group, bool) or not isinstance(group, str | int)
    ]
    if wrong:
        raise InputError(f"{path}: group of {wrong[0][:80]!r}: expected text or a whole number")
    if groups and not groups.keys() & {pair.name for pair in pairs}:
        raise InputError(
            f"{path}: names none of the evaluated images; they are named by their path without suffix, "
            f"as {pairs[0].name!r}"
        )
    return {name: str(group) for name, group in groups.items()}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means of every measure, named with an m in front: miou, mbiou, ..."""
    return {f"m{name}": float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _table(answer: dict[str, Any]) -> str:
    lines = [f"{'':<28}{'mIoU':>8}{'mBIoU':>8}"]
    if len(answer["per_folder"]) > 1:
        for folder, means in answer["per_folder"].items():
            lines.append(f"{folder:<28}{means['miou']:>8.4f}{means['mbiou']:>8.4f}")
        over = answer["over_folders"]
        lines.append(f"{'mean over folders':<28}{over['miou']:>8.4f}{over['mbiou']:>8.4f}")
    lines.append(f"{'mean over images':<28}{answer['miou']:>8.4f}{answer['mbiou']:>8.4f}")
    if "miou_oracle" in answer:
        lines.append(
            f"one of SAM's three masks: mIoU {answer['miou_best_score']:.4f} by its own score, "
            f"{answer['miou_oracle']:.4f} by the oracle"
        )
    for group, row in answer.get("per_group", {}).items():
        margin = "" if row["margin_95"] is None else f" ± {row['margin_95']:.4f}"
        lines.append(f"group {group:<22}{row['miou']:>8.4f}{margin} ({row['count']} images)")
    skipped = answer["empty_masks_skipped"]
    lines.append(
        f"{answer['model']}, prompt {answer['prompt']}, {answer['images']} images"
        + (f", {skipped} with an empty mask skipped" if skipped else "")
    )
    return "\n".join(lines)

"""``vistubes eval masks``: a model on folders of images, prompted from the truth, as HQ-SAM's tables."""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

__all__ = ["evaluate_folder", "prompts_from_truth"]


def evaluate_folder(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The answer and the table of ``vistubes eval masks``."""
    kind, count = _prompt_kind(args.prompt)
    pairs = pair_folders(args.images, args.masks, args.stride)
    coarse = _coarse_masks(args, kind)
    groups = _groups(args.groups, pairs) if args.groups else None

    from vis.hqsam import Predictor, load_model

    predictor = Predictor(load_model(args.model, device=args.device))
    rows: dict[str, dict[str, float]] = {}
    skipped = []
    for number, pair in enumerate(pairs, 1):
        row = _score(predictor, pair, kind, count, coarse, args.ratio)
        if row is None:
            skipped.append(pair.name)
        else:
            rows[pair.name] = row
        if sys.stderr.isatty():
            print(f"\r{number}/{len(pairs)} {pair.name:<50.50}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    if not rows:
        raise InputError(f"all {len(pairs)} masks under {args.masks} are empty: there is nothing to prompt")
    answer = _answer(args, rows, skipped, groups)
    return answer, _table(answer)


def _prompt_kind(text: str) -> tuple[str, int]:
    kind, colon, number = text.partition(":")
    if kind in ("box", "mask") and not colon:
        return kind, 0
    if kind == "points" and number.isascii() and number.isdigit() and 1 <= int(number) <= 1000:
        return kind, int(number)
    raise UsageError(f"--prompt {text!r}: expected box, mask, or points:K with K from 1 to 1000")


def _coarse_masks(args: argparse.Namespace, kind: str) -> dict[str, Path]:
    if args.coarse is None:
        return {}
    if kind != "mask":
        raise UsageError("--coarse gives the masks of --prompt mask; choose that prompt or leave it out")
    return {pair.name: pair.mask for pair in pair_folders(args.images, args.coarse, args.stride)}


def _score(
    predictor: Any, pair: ImagePair, kind: str, count: int, coarse: dict[str, Path], ratio: float
) -> dict[str, float] | None:
    """IoU and boundary IoU of one image, None when its mask is empty."""
    image, truth = read_pixels(pair.image, "RGB"), read_mask(pair.mask)
    if image.shape[:2] != truth.shape:
        raise InputError(f"{pair.mask}: size {truth.shape}, the image {pair.image.name} is {image.shape[:2]}")
    if not truth.any():
        return None
    hint = truth
    if coarse:
        if pair.name not in coarse:
            raise InputError(f"{pair.name}: no coarse mask of this name")
        hint = read_mask(coarse[pair.name])
        if hint.shape != truth.shape or not hint.any():
            raise InputError(f"{coarse[pair.name]}: expected a mask of size {truth.shape} that is not empty")
    prompts = prompts_from_truth(
        hint, kind, count, seed=zlib.crc32(os.fsencode(pair.name)), given=bool(coarse)
    )
    embedding = predictor.embed(image)
    mask = predictor.decode(embedding, **prompts).masks[0]
    iou, boundary = iou_and_boundary_iou(mask, truth, ratio=ratio)
    row = {"iou": iou, "biou": boundary}
    if kind == "points":
        # One click is ambiguous: SAM gives three masks, and the oracle takes the best of them.
        three = predictor.decode(embedding, **prompts, multimask=True)
        scores = [iou_and_boundary_iou(candidate, truth, ratio=ratio)[0] for candidate in three.masks[0]]
        row |= {"iou_best_score": scores[int(np.argmax(three.scores[0]))], "iou_oracle": max(scores)}
    return row


def prompts_from_truth(
    truth: NDArray[np.bool_], kind: str, count: int, *, seed: int, given: bool = False
) -> dict[str, Any]:
    """Arguments for ``Predictor.decode`` from a mask (H, W) that is not empty.

    ``box``: its bounding box. ``points``: one point is the deepest (Segment Anything, section 7.1), more
    are drawn evenly from the mask with a fixed seed (as HQ-SAM's figure 5). ``mask``: the mask as logits;
    the truth itself is first made coarse, an eighth of SAM's prompt resolution, unless ``given``.
    """
    from vis.masks import bounding_box, encode
    from vis.prompt_policies import deepest_point, mask_prompt

    if kind == "box":
        return {"boxes": bounding_box(encode(truth))[None]}
    if kind == "mask":
        return {"masks": mask_prompt((truth if given else _coarsened(truth))[None], alone=True)}
    if count == 1:
        points = deepest_point(truth)[None, None]
    else:
        rows, columns = np.nonzero(truth)
        chosen = np.random.default_rng(seed).integers(0, len(rows), count)
        points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)[None]
    return {"points": points, "point_labels": np.ones(points.shape[:2], np.int64)}


def _coarsened(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask at 32 pixels of its longer side and back."""
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
    args: argparse.Namespace,
    rows: dict[str, dict[str, float]],
    skipped: list[str],
    groups: dict[str, str] | None,
) -> dict[str, Any]:
    folders: dict[str, list[dict[str, float]]] = {}
    for name, row in rows.items():
        folders.setdefault(name.rpartition("/")[0] or ".", []).append(row)
    by_folder = {folder: _means(some) for folder, some in folders.items()}
    answer: dict[str, Any] = {
        **_means(list(rows.values())),
        "over_folders": _means([{k[1:]: v for k, v in means.items()} for means in by_folder.values()]),
        "model": str(args.model),
        "prompt": args.prompt,
        "stride": args.stride,
        "dilation_ratio": args.ratio,
        "images": len(rows),
        "empty_masks_skipped": len(skipped),
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

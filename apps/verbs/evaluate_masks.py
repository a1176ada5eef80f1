"""``vistubes eval masks``: a model on folders of images, prompted from the truth, as HQ-SAM's tables."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from apps.finished_images import FinishedImages
from apps.verbs.evaluate_prompts import (
    CoarseMasks,
    Prompts,
    coarse_from_detector,
    coarse_from_folder,
    coarse_from_truth,
    read_prompt,
)
from vis import refiners
from vis.errors import EvaluationWarning, InputError, UsageError
from vis.evaluation.figures import Line, write_figure
from vis.evaluation.image_masks import (
    ImagePair,
    group_means,
    iou_and_boundary_iou,
    pair_folders,
    read_mask,
    read_pixels,
    without_partner,
)
from vis.files import read_json, write_json
from vis.interfaces import MaskPredictor

__all__ = ["evaluate_folder"]

Row = dict[str, float]
"""The measures of one image with one prompt."""
BIOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Of HQ-SAM's figure 4."""


@dataclass(frozen=True, slots=True)
class _Experiment:
    """What is asked of every image."""

    predictor: Callable[[], MaskPredictor]
    """Loads the model when it is first called."""
    prompts: Prompts
    coarse: CoarseMasks
    ratio: float
    """Width of the boundary, as a share of the diagonal."""

    def scores(self, pair: ImagePair) -> dict[str, Any]:
        """The measures of each prompt; none where the true mask is empty, zeros where no coarse mask was found."""
        image, truth = read_pixels(pair.image, "RGB"), read_mask(pair.mask)
        if image.shape[:2] != truth.shape:
            raise InputError(
                f"{pair.mask}: size {truth.shape}, the image {pair.image.name} is {image.shape[:2]}"
            )
        if not truth.any():
            return {"rows": [], "prompted": True}
        hint = self.coarse(pair, image, truth) if self.prompts.kind == "mask" else truth
        if hint is None:
            return {"rows": [{"iou": 0.0, "biou": 0.0}], "prompted": False}
        predictor = self.predictor()
        embedding = predictor.embed(image)
        rows = []
        for given in self.prompts.of(pair, hint, predictor.mask_side):
            mask = predictor.decode(embedding, **given).masks[0]
            iou, boundary = iou_and_boundary_iou(mask, truth, ratio=self.ratio)
            row = {"iou": iou, "biou": boundary}
            if self.prompts.kind == "points":
                # One click is ambiguous: SAM gives three masks, and the oracle takes the best of them.
                three = predictor.decode(embedding, **given, multimask=True)
                ious = [iou_and_boundary_iou(other, truth, ratio=self.ratio)[0] for other in three.masks[0]]
                row |= {"iou_best_score": ious[int(np.argmax(three.scores[0]))], "iou_oracle": max(ious)}
            rows.append(row)
        return {"rows": rows, "prompted": True}


def evaluate_folder(
    images: Path,
    masks: Path,
    *,
    model: str | Path,
    prompt: str = "box",
    coarse: Path | None = None,
    coarse_detector: str | None = None,
    coarse_weights: str | None = None,
    groups: Path | None = None,
    stride: int = 1,
    ratio: float = 0.02,
    device: str = "auto",
    out: Path | None = None,
) -> tuple[dict[str, Any], str]:
    """The answer and the table of ``vistubes eval masks``; arguments are its options."""
    prompts = read_prompt(prompt)
    pairs = pair_folders(images, masks, stride)
    unpaired = _unpaired(images, masks)
    given: dict[str, Any] = {
        "coarse": coarse,
        "coarse_detector": coarse_detector,
        "coarse_weights": coarse_weights,
    }
    _check_coarse(prompts, **given)
    group_of = None if groups is None else _groups(groups, pairs)
    about = {"model": str(model), "prompt": prompt, "dilation_ratio": ratio}
    finished = None
    if out is not None:
        places = {"images": images, "masks": masks, **given}
        finished = FinishedImages(
            out, about | {name: str(p.resolve()) if isinstance(p, Path) else p for name, p in places.items()}
        )
    experiment = _Experiment(
        cache(lambda: refiners.create(model, device=device)),
        prompts,
        _coarse_masks(images, device, **given),
        ratio,
    )
    found = _each(experiment, pairs, finished)
    rows = {name: one["rows"] for name, one in found.items() if one["rows"]}
    if not rows:
        raise InputError(f"all {len(pairs)} masks under {masks} are empty: there is nothing to prompt")
    # Of several numbers of points the largest one's rows stand for the experiment, all of them for the curve.
    answer = _answer(about | {"stride": stride}, {name: some[-1] for name, some in rows.items()}, group_of)
    answer |= unpaired
    answer["empty_masks_skipped"] = len(pairs) - len(rows)
    answer["without_coarse_mask"] = sum(not one["prompted"] for one in found.values())
    if len(prompts.points) > 1:
        answer["curve"] = [
            {"points": count, **_means([some[place] for some in rows.values()])}
            for place, count in enumerate(prompts.points)
        ]
    if out is not None:
        _write_figures(out, answer)
        write_json(out / "results.json", answer)
    return answer, _table(answer)


def _unpaired(images: Path, masks: Path) -> dict[str, int]:
    """Counts of images and masks without partner; warns of masks, whose images are most likely missing."""
    bare, orphans = without_partner(images, masks)
    if orphans:
        warnings.warn(
            f"{masks}: {len(orphans)} masks have no image of their name under {images}, {orphans[0]} first: not scored",
            EvaluationWarning,
            stacklevel=2,
        )
    return {"images_without_mask": len(bare), "masks_without_image": len(orphans)}


def _check_coarse(
    prompts: Prompts, *, coarse: Path | None, coarse_detector: str | None, coarse_weights: str | None
) -> None:
    if (coarse is not None or coarse_detector is not None) and prompts.kind != "mask":
        raise UsageError(
            "--coarse and --coarse-detector give the masks of --prompt mask; choose that prompt or leave them out"
        )
    if coarse is not None and coarse_detector is not None:
        raise UsageError("--coarse and --coarse-detector both give the coarse masks; choose one")
    if coarse_weights is not None and coarse_detector is None:
        raise UsageError("--coarse-weights are those of --coarse-detector; name it")


def _coarse_masks(
    images: Path, device: str, *, coarse: Path | None, coarse_detector: str | None, coarse_weights: str | None
) -> CoarseMasks:
    """Where coarse masks come from; a detector is loaded when it is first asked."""
    if coarse is not None:
        return coarse_from_folder(images, coarse)
    if coarse_detector is None:
        return coarse_from_truth

    @cache
    def loaded() -> CoarseMasks:
        import detectors

        weights: dict[str, Any] = {} if coarse_weights is None else {"weights": coarse_weights}
        return coarse_from_detector(detectors.create(coarse_detector, device=device, **weights))

    return lambda pair, image, truth: loaded()(pair, image, truth)


def _each(
    experiment: _Experiment, pairs: list[ImagePair], finished: FinishedImages | None
) -> dict[str, dict[str, Any]]:
    """What each image gave, by name, in their order; finished ones are not looked at again."""
    found: dict[str, dict[str, Any]] = {}
    for number, pair in enumerate(pairs, 1):
        kept = None if finished is None else finished.get(pair.name)
        found[pair.name] = experiment.scores(pair) if kept is None else kept
        if finished is not None and kept is None:
            finished.put(pair.name, found[pair.name])
        if sys.stderr.isatty():
            print(f"\r{number}/{len(pairs)} {pair.name:<50.50}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return found


def _answer(about: Mapping[str, Any], rows: dict[str, Row], groups: dict[str, str] | None) -> dict[str, Any]:
    folders: dict[str, list[Row]] = {}
    for name, row in rows.items():
        folders.setdefault(name.rpartition("/")[0] or ".", []).append(row)
    by_folder = {folder: _means(some) for folder, some in folders.items()}
    answer: dict[str, Any] = {
        **_means(list(rows.values())),
        "over_folders": _means([{k[1:]: v for k, v in means.items()} for means in by_folder.values()]),
        **about,
        "images": len(rows),
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


def _write_figures(out: Path, answer: dict[str, Any]) -> None:
    """``recall``: images by boundary IoU; ``points``: over the number of points; ``groups``: means with intervals."""
    boundary = np.array([row["biou"] for row in answer["per_image"].values()])
    shares = [float((boundary > threshold).mean()) for threshold in BIOU_THRESHOLDS]
    name = Path(answer["model"]).name
    axes = ("boundary IoU above", "share of images")
    write_figure(out / "recall", [Line(name, shares)], BIOU_THRESHOLDS, axes=axes)
    if curve := answer.get("curve"):
        lines = [Line(key, [row[key] for row in curve]) for key in curve[0] if key != "points"]
        write_figure(
            out / "points", lines, [row["points"] for row in curve], axes=("points", f"mean, {name}")
        )
    if groups := answer.get("per_group"):
        means = [row["miou"] for row in groups.values()]
        margins = [float("nan") if row["margin_95"] is None else row["margin_95"] for row in groups.values()]
        line = Line("mIoU with its 95 % interval", means, margins)
        write_figure(out / "groups", [line], list(groups), axes=("group", f"mIoU, {name}"))


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
    for row in answer.get("curve", [answer] if "miou_oracle" in answer else []):
        count = f"{row['points']} points" if "points" in row else "one of SAM's three masks"
        mean = f"mIoU {row['miou']:.4f}, mBIoU {row['mbiou']:.4f}; of three masks " if "points" in row else ""
        lines.append(
            f"{count}: {mean}mIoU {row['miou_best_score']:.4f} by its own score, {row['miou_oracle']:.4f} by the "
            "oracle"
        )
    for group, row in answer.get("per_group", {}).items():
        margin = "" if row["margin_95"] is None else f" ± {row['margin_95']:.4f}"
        lines.append(f"group {group:<22}{row['miou']:>8.4f}{margin} ({row['count']} images)")
    left_out = {
        "empty_masks_skipped": "with an empty mask skipped",
        "without_coarse_mask": "without a coarse mask, counted as 0",
        "images_without_mask": "images without a mask left out",
        "masks_without_image": "masks without an image left out",
    }
    lines.append(
        f"{answer['model']}, prompt {answer['prompt']}, {answer['images']} images"
        + "".join(f", {answer[name]} {text}" for name, text in left_out.items() if answer[name])
    )
    return "\n".join(lines)

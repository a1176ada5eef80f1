"""How good masks are for given prompts: mean IoU and mean boundary IoU of plain SAM, SAM + HQ, HQ alone.

Both are means over objects at the image's own size; the boundary is a band of 2 % of the diagonal inside
the mask, the picture's border included (boundary IoU, arXiv 2103.16562).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vis.errors import InputError, UsageError
from vis.hqsam import ImageEmbedding, Predictor, SamModel
from vis.hqsam.resize import network_size, upsampler
from vis.masks import dense_boundary_iou, dense_iou
from vis.training.datasets import MaskedImage
from vis.training.frozen import EmbeddedImage, FrozenSam
from vis.training.prompts import Prompt, coarse_mask, random_points, tight_box
from vis.training.samples import HeadSample, hq_logits

__all__ = ["Score", "evaluate", "fixed_prompt"]


@dataclass(frozen=True, slots=True)
class Score:
    """Means over objects, in [0, 1]."""

    iou: float
    boundary_iou: float
    objects: int


def fixed_prompt(kind: str, mask: NDArray[np.bool_], seed: int, side: int = 256) -> Prompt:
    """The prompt ``box``, ``mask`` (coarse), or ``points1`` ... ``pointsK`` of an object.

    Points are random pixels of the object; the first k of more points are those of k points.
    """
    rng = np.random.default_rng(seed)
    if kind == "box":
        return Prompt(kind, box=tight_box(mask))
    if kind == "mask":
        return Prompt(kind, mask=coarse_mask(mask, rng, side=side, alone=True))
    if re.fullmatch("points[1-9][0-9]*", kind):
        points = random_points(mask, max(10, int(kind[6:])), rng)[: int(kind[6:])]
        return Prompt(kind, points=points, labels=np.ones(len(points), np.int64))
    raise UsageError(
        f"prompt kind {kind!r} is unknown; expected box, mask, or points with a number, as points3"
    )


def _to_frame(logits: Tensor, size: tuple[int, int], side: int) -> NDArray[np.bool_]:
    """Logits (s/4, s/4) of the network to a mask (H, W) of the frame."""
    mask = np.zeros((1, *size), np.bool_)
    low = logits[None].float().cpu()
    upsampler(size, network_size(size, side), low.shape[-1], side, low.device).masks(low, mask)
    return np.asarray(mask[0])


@torch.inference_mode()
def evaluate(
    model: SamModel,
    images: Iterable[MaskedImage],
    *,
    plain: SamModel | None = None,
    kinds: Iterable[str] = ("box",),
    detect: Callable[[NDArray[np.uint8]], NDArray[np.float32] | None] | None = None,
    best_of_three: bool = False,
    seed: int = 0,
) -> dict[str, dict[str, Score]]:
    """Scores by prompt kind, then by output: ``sum`` (SAM + HQ), ``hq``, and ``plain`` when given.

    Args:
        model: with an HQ branch.
        images: with their true masks.
        plain: the same SAM without the branch; shares the encoder's pass.
        kinds: see :func:`fixed_prompt`; ``detected`` is the box that ``detect`` gives.
        detect: image -> one box (4,) x0, y0, x1, y1 in pixels, or None, which scores 0.
        best_of_three: also ``best`` and ``plain_best``, as ``Predictor.decode`` means it.
        seed: of points and coarse masks.

    Raises:
        UsageError: a kind of prompt is unknown.
        InputError: no image has an object.
    """
    frozen = FrozenSam(model)
    wanted = tuple(kinds)
    others = {"plain": (Predictor(plain), False)} if plain else {}
    if best_of_three:
        others |= {f"{name}_best": (predictor, True) for name, (predictor, _) in others.items()}
        others["best"] = (Predictor(model), True)
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number, item in enumerate(images):
        image = item.image()
        embedded = frozen.embed(image)
        embeddings = {name: _embedding(predictor.model, embedded) for name, (predictor, _) in others.items()}
        detected = detect(image) if detect else None
        for row, mask in enumerate(item.masks()):
            for kind in wanted:
                draw = (seed * 1_000_003 + number) * 1000 + row
                if kind != "detected":
                    prompt = fixed_prompt(kind, mask, draw, frozen.side // 4)
                elif detected is not None:
                    prompt = Prompt(kind, box=detected)
                else:
                    prompt = None
                found = dict.fromkeys(("sum", "hq", *others), np.zeros(mask.shape, np.bool_))
                if prompt is not None:
                    found.update(_sum_and_hq(frozen, embedded, prompt))
                    for name, (predictor, best) in others.items():
                        found[name] = _decoded(predictor, embeddings[name], prompt, best_of_three=best)
                for name, result in found.items():
                    pair = (dense_iou(result, mask), dense_boundary_iou(result, mask))
                    pairs.setdefault((kind, name), []).append(pair)
    if not pairs:
        raise InputError("there is nothing to evaluate on: no image has a mask with any pixel")
    return {kind: {name: _mean(rows) for (k, name), rows in pairs.items() if k == kind} for kind in wanted}


def _mean(pairs: Sequence[tuple[float, float]]) -> Score:
    iou, boundary = np.mean(pairs, axis=0)
    return Score(float(iou), float(boundary), len(pairs))


def _sum_and_hq(frozen: FrozenSam, image: EmbeddedImage, prompt: Prompt) -> dict[str, NDArray[np.bool_]]:
    """One object's masks (H, W) by SAM + HQ logits (``sum``) and by the HQ logits alone (``hq``)."""
    out = frozen.decode(image, prompt)
    nothing = torch.zeros(1, 0, dtype=torch.uint8)
    whole = HeadSample(
        image.features,
        image.early,
        out.upscaled[None],
        out.sam_logits[None],
        out.hf_token[None],
        nothing,
        nothing,
        prompt.kind,
    )
    hq = hq_logits(frozen.model.mask_decoder, whole)[0]
    return {
        name: _to_frame(logits, image.frame_size, frozen.side)
        for name, logits in (("sum", out.sam_logits + hq), ("hq", hq))
    }


@torch.inference_mode()
def _embedding(model: SamModel, image: EmbeddedImage) -> ImageEmbedding:
    """For a predictor of ``model``, which may be the SAM without a branch: the encoder is the same."""
    hq = model.mask_decoder.hq_features(image.features, image.early) if model.has_hq else None
    return ImageEmbedding(image.frame_size, image.features, hq, model.size.name)


def _decoded(
    predictor: Predictor, embedding: ImageEmbedding, prompt: Prompt, *, best_of_three: bool
) -> NDArray[np.bool_]:
    """One object's mask (H, W)."""

    def one(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else array[None]

    out = predictor.decode(
        embedding,
        boxes=one(prompt.box),
        points=one(prompt.points),
        point_labels=one(prompt.labels),
        masks=one(prompt.mask),
        best_of_three=best_of_three,
    )
    mask: NDArray[np.bool_] = out.masks[0]
    return mask

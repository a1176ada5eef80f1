"""Two models' masks of the same boxes on one frame, with numbers per object.

HQ-SAM has both kinds in one embedding: SAM's masks are compared with its own unless two models are named.
"""

from __future__ import annotations

import html
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apps.demo.clip_frames import covered
from apps.demo.model_cache import ModelCache, reader_of
from apps.demo.session import Session
from vis import masks as rle
from vis.errors import UsageError
from vis.interfaces import Embedding, MaskPredictor
from vis.prompt_policies import mask_prompt
from vis.prompts import check_prompts
from vis.render import Renderer, fitted
from vis.structures import Detections, Tube, VideoResult

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Comparison", "compare", "flicker", "magnify", "side_by_side", "table"]

Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]
ZOOM_SIDE = 960
_PLAIN = (
    "the model on the right is plain SAM or of another kind, so there is no HQ-SAM mask to compare with; choose a "
    "model for the left, too, or an HQ model for the right"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two pictures of one frame, and what to say about them."""

    sam: Image
    hq: Image
    text: str
    """HTML."""
    names: tuple[str, str] = ("SAM", "HQ-SAM")
    """Of the two pictures."""


def compare(
    session: Session,
    model_cache: ModelCache,
    *,
    zoom: bool,
    left: str | None = None,
    right: str | None = None,
) -> Comparison:
    """Both masks of every object on the shown frame; ``zoom``: magnified where the selected object's differ.

    ``left`` and ``right``: names of models. None takes the run's model on the right, and on the left SAM's masks
    inside of the right one. Raises :class:`UsageError` where there is nothing to compare.
    """
    with session.lock:
        history = session.history
        if history is None:
            raise UsageError("there is nothing to compare yet; press Run first")
        result = history.result
        frame = int(result.frames[session.position])
        tubes = [tube for tube in result.tubes if frame in tube.frames]
        if not tubes:
            raise UsageError("no object is on this frame; go to a frame that shows one")
        right = right or str(session.model)
        if left == right:
            raise UsageError(f"both sides are {right}; choose another model for one of them")
        decoder = model_cache.decoder_of(session)
        own = decoder.embedding(frame) if session.model in (left, right) else None
        image = reader_of(session)[frame].image
    boxes = np.array([tube.boxes[_row(tube, frame)] for tube in tubes], np.float32)

    def model(name: str) -> tuple[MaskPredictor, Embedding]:
        if name == session.model:
            return decoder.predictor, own
        predictor = model_cache.predictor_of(name)
        return predictor, predictor.embed(image)

    if left is None:
        names = ("SAM", "HQ-SAM") if right == session.model else (f"SAM inside of {right}", right)
        like = _masks(tubes, frame) if _of_three(result) else None
        sam, hq = both_masks(*model(right), result.video.size, boxes, like)
    else:
        names = (left, right)
        best = {"best_of_three": _of_three(result)}
        sam, hq = (
            predictor.decode(embedding, boxes=boxes, **best).masks
            for predictor, embedding in map(model, (left, right))
        )
    pictures = [_draw(image, tubes, boxes, masks, result) for masks in (sam, hq)]
    if zoom:
        ids = [tube.id for tube in tubes]
        row = ids.index(session.selected) if session.selected in ids else 0
        window = magnify(sam[row], hq[row], boxes[row])
        pictures = [_crop(picture, window) for picture in pictures]
    return Comparison(pictures[0], pictures[1], table(result, tubes, sam, hq, names), names)


def side_by_side(
    model_cache: ModelCache, session: Session, result: VideoResult, path: Path
) -> Generator[float]:
    """One video, SAM's masks on the left and HQ-SAM's on the right; yields the share that is done.

    Each frame is embedded once; the boxes are the result's. Raises :class:`UsageError` on plain SAM.
    """
    from vis.pipeline import replay
    from vis.video import VideoWriter

    assert session.video is not None
    predictor = model_cache.decoder_of(session).predictor
    source = covered(session.video, result)
    height, width = result.video.size
    total = len(result.frames)
    chosen = _of_three(result)
    with VideoWriter(path, (height, 2 * width), result.video.fps or 10.0, expected_frames=total) as writer:
        for done, tracked in enumerate(replay(source, result), 1):
            image, found = tracked.frame.image, tracked.detections
            tubes = [tube for tube in result.tubes if tracked.frame.index in tube.frames]
            pair = [image, image]
            if tubes:
                embedding = predictor.embed(image)
                pair = [
                    _draw(image, tubes, found.boxes, masks, result)
                    for masks in both_masks(
                        predictor, embedding, tracked.frame.size, found.boxes, found.masks if chosen else None
                    )
                ]
            named = [_name(picture, name) for picture, name in zip(pair, ("SAM", "HQ-SAM"), strict=True)]
            writer.write(np.concatenate(named, axis=1), tracked.frame.pts_seconds)
            yield done / total


def _of_three(result: VideoResult) -> bool:
    """Whether the result's masks were chosen among SAM's three: then those compared are, too."""
    return bool(result.made_with.get("options", {}).get("whole_or_part", False))


def _masks(tubes: list[Tube], frame: int) -> Bool | None:
    """(N, H, W), or None where a tube has boxes only."""
    found = [tube.masks[_row(tube, frame)] for tube in tubes if tube.masks is not None]
    return rle.decode_many(found, found[0].size) if len(found) == len(tubes) else None


def both_masks(
    predictor: MaskPredictor,
    embedding: Embedding,
    size: tuple[int, int],
    boxes: NDArray[np.float32],
    like: Bool | None = None,
) -> tuple[Bool, Bool]:
    """(N, H, W) masks of SAM inside of HQ-SAM, and of HQ-SAM, of the same boxes of a frame of ``size`` in one pass.

    The first are SAM's but for the HQ token, which its tokens see too: a few pixels in a thousand differ.
    ``like`` (N, H, W): take of SAM's three masks the one that comes nearest to these with HQ added, which is
    the one that they were made from, unless they were corrected; None takes the single one.

    Raises :class:`UsageError` for a model without a residual, such as plain SAM.
    """
    prompts = check_prompts(size, predictor.mask_side, boxes=boxes)
    sam, hq = (np.zeros((prompts.count, *size), np.bool_) for _ in range(2))
    which = slice(0, 1) if like is None else slice(1, 4)
    for rows, plain, added, _ in predictor.predict_masks(embedding, prompts, which):
        if added is None:
            raise UsageError(_PLAIN)
        one = plain[:, 0] if like is None else _nearest(plain, added, like[rows])
        for masks, logits in ((sam, one), (hq, one + added)):
            (masks[rows],) = predictor.logits_to_masks(logits, size)
    return sam, hq


def _nearest(plain: Tensor, added: Tensor, masks: Bool) -> Tensor:
    """Of (n, 3, s, s) logits the (n, s, s) whose sum with ``added`` (n, s, s) is likest to masks (n, H, W)."""
    import torch

    drawn = plain + added[:, None] > 0
    wanted = torch.from_numpy(mask_prompt(masks, side=plain.shape[-1]) > 0).to(plain.device)[:, None]
    common, union = (drawn & wanted).sum((2, 3)), (drawn | wanted).sum((2, 3))
    best = (common / union.clamp(min=1)).argmax(1)
    return plain[torch.arange(len(plain), device=plain.device), best]


def _name(image: Image, name: str) -> Image:
    import cv2

    canvas = image.copy()
    size = max(0.5, canvas.shape[0] / 720)
    for color, line in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.putText(
            canvas, name, (round(14 * size), round(34 * size)), cv2.FONT_HERSHEY_SIMPLEX, size, color,
            max(1, round(line * size)), cv2.LINE_AA,
        )  # fmt: skip
    return canvas


def magnify(a: Bool, b: Bool, box: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a window around the pixels where two masks differ most; the box if nowhere."""
    import cv2

    height, width = a.shape
    side = max(48, round(0.35 * max(box[2] - box[0], box[3] - box[1])))
    w, h = min(width, side * 16 // 9), min(height, side)
    differ = (a ^ b).astype(np.float32)
    if differ.any():
        density = cv2.boxFilter(differ, -1, (w, h), normalize=False, borderType=cv2.BORDER_CONSTANT)
        y, x = divmod(int(density.argmax()), width)
    else:
        x, y = round(float(box[0] + box[2]) / 2), round(float(box[1] + box[3]) / 2)
    x0, y0 = min(max(0, x - w // 2), width - w), min(max(0, y - h // 2), height - h)
    return x0, y0, x0 + w, y0 + h


def flicker(tube: Tube) -> float | None:
    """Mean of 1 - IoU of masks one processed frame apart: motion and flicker together; None for one frame."""
    if tube.masks is None or len(tube) < 2:
        return None
    return 1 - float(np.mean([rle.iou(a, b) for a, b in zip(tube.masks[:-1], tube.masks[1:], strict=True)]))


def table(
    result: VideoResult, tubes: list[Tube], sam: Bool, hq: Bool, names: tuple[str, str] = ("SAM", "HQ-SAM")
) -> str:
    """One line per object, as HTML."""
    lines = []
    for tube, a, b in zip(tubes, sam, hq, strict=True):
        change = flicker(tube)
        cells = [
            f"{html.escape(result.class_names[tube.label])} {tube.id}",
            f"{rle.dense_iou(a, b):.3f}",
            f"{rle.dense_boundary_iou(a, b):.3f}",
            f"{int(b.sum()) - int(a.sum()):+,} px",
            "–" if change is None else f"{change:.3f}",
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = (
        "object",
        "agreement (IoU)",
        "at the boundary (IoU)",
        f"area, {names[1]} − {names[0]}",
        "change per frame",
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return f"<table class='vt-table'><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _draw(
    image: Image, tubes: list[Tube], boxes: NDArray[np.float32], masks: Bool, result: VideoResult
) -> Image:
    found = Detections(
        boxes=boxes,
        scores=np.ones(len(tubes), np.float32),
        labels=np.array([tube.label for tube in tubes], np.int64),
        masks=masks,
        track_ids=np.array([tube.id for tube in tubes], np.int64),
    )
    return Renderer(result.class_names, labels=False, opacity=0.35).draw(image, found)


def _crop(image: Image, window: tuple[int, int, int, int]) -> Image:
    import cv2

    x0, y0, x1, y1 = window
    height, width = fitted((y1 - y0, x1 - x0), ZOOM_SIDE, ZOOM_SIDE)
    part: Any = cv2.resize(image[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(part, np.uint8)


def _row(tube: Tube, frame: int) -> int:
    return int(np.searchsorted(tube.frames, frame))

"""Mask2Former trained for video (YouTube-VIS), per frame at any length, or a short clip at once.

Per frame (default), every frame is decoded by itself and its query embeddings come along: the
tracker ``query`` follows them through any number of frames, in bounded memory. With the same weights
this is better than the whole clip at once (MinVIS, Huang et al. 2022; BoxVIS measured 40.6 -> 43.1 AP
on YouTube-VIS 2021).

With ``joint=True``, all images of one ``detect`` call are one clip, as in the model's own paper: a
query attends to all frames and *is* the tube, the ten best (query, class) pairs are kept, and their
ids come along for the tracker ``native``. Memory grows with the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.mask2former import Mask2Former
from detectors.mask2former_checkpoint import load_conversion, load_original
from detectors.mask2former_decoder import DecodedQueries, decode, mask_logits, pixel_features
from detectors.query_masks import detections_from, resize_logits
from detectors.youtube_vis import YOUTUBE_VIS_2019, YOUTUBE_VIS_2021
from vis.devices import pick_device
from vis.errors import UsageError
from vis.structures import Detections
from vis.weights import sha256_of
from vis.weights.hub import checkpoint_folder, class_names_of, require, weights_sha256

__all__ = ["Mask2FormerVideo"]

_SHORT_SIDE = 480  # the YouTube-VIS configuration's: shorter side 480
_LONG_SIDE = 1333


class Mask2FormerVideo(Mask2Former):
    """A YouTube-VIS model: a detectron2 file, a hub conversion, or its folder."""

    def __init__(
        self,
        *,
        weights: str | Path = "shivi/video-mask2former-swin-large-youtubevis-2021-instance",
        joint: bool = False,
        score: float | None = None,
        max_detections: int | None = None,
        class_names: Sequence[str] | None = None,
        short_side: int = _SHORT_SIDE,
        max_clip: int = 64,
        device: str = "auto",
    ) -> None:
        """``weights``: a detectron2 ``.pkl`` or ``.pth``, a hub name, or a folder.

        ``joint``: see the module. ``score``: least score of an object (default 0.3 per frame, 0
        joint). ``max_detections``: objects of a frame (100), or tubes of a clip (10, the
        benchmark's). ``class_names``: default the checkpoint's own, or YouTube-VIS 2021's and
        2019's by the file's name. ``max_clip``: most frames of a joint call.
        """
        path = Path(weights).expanduser()
        if path.is_file():
            model, names = load_original(path), class_names or _names_for(path.name)
            self.weights_sha256 = {path.name: sha256_of(path)}
        else:
            folder = checkpoint_folder(weights)
            model, names = load_conversion(folder), class_names
            self.weights_sha256 = weights_sha256(folder)
        self._names = tuple(names or class_names_of(model.config))
        if len(self._names) != model.config.num_labels:
            raise UsageError(
                f"{weights} tells {model.config.num_labels} classes apart, {len(self._names)} names were given"
            )
        self._joint, self._max_clip = joint, max_clip
        self._device = pick_device(device)
        self._model, self._processor = model.to(self._device), _processor(short_side)
        # Joint scores are only ranked; per frame, weak objects cost the tracker time.
        self._set_limits(
            (0.0 if joint else 0.3) if score is None else score,
            (10 if joint else 100) if max_detections is None else max_detections,
            smooth_masks=True,
        )
        self.reset()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self._names

    def reset(self) -> None:
        """Count joint tubes from 1 again."""
        self._next_id = 1

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Per frame: objects with embeddings. Joint: objects with ids that hold within this call."""
        if not self._joint or not images:
            return super().detect(images)
        if len(images) > self._max_clip:
            raise UsageError(
                f"{len(images)} frames at once are more than max_clip={self._max_clip}; memory grows with the "
                "clip. Use joint=False, which takes any length, or raise max_clip"
            )
        if len({image.shape for image in images}) > 1:
            raise UsageError("a clip's frames must have one size")
        return self._detect_clip(images)

    def _detect_clip(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        import torch

        with torch.inference_mode():
            # Backbone and pixel decoder know no time: they run frame by frame, which bounds their memory.
            parts = [pixel_features(self._model, self._pixels([image])) for image in images]
            levels = tuple(torch.cat(level) for level in zip(*(part[0] for part in parts), strict=True))
            decoded = decode(self._model, levels, torch.cat([part[1] for part in parts]), frames=len(images))
            scores, labels, queries = top_pairs(decoded.class_logits[0], self._max_detections)
            kept = scores >= self._score
            found = self._tubes(decoded, scores[kept], labels[kept], queries[kept], images[0].shape[:2])
        self._next_id += int(kept.sum())
        return found

    def _tubes(
        self, decoded: DecodedQueries, scores: Any, labels: Any, queries: Any, size: tuple[int, ...]
    ) -> list[Detections]:
        import torch

        ids = torch.arange(self._next_id, self._next_id + len(scores))
        embeddings = decoded.embeddings[0][queries]
        found = []
        for frame in range(decoded.pixels.shape[1]):
            logits = mask_logits(self._model, embeddings, decoded.pixels[0, frame : frame + 1])[:, 0]
            masks = resize_logits(logits, (size[0], size[1])) > 0
            found.append(detections_from(scores, labels, masks, ids=ids, embeddings=embeddings))
        return found


def top_pairs(class_logits: Any, count: int) -> tuple[Any, Any, Any]:
    """The best (query, class) pairs of a clip: logits (Q, K + 1) -> scores, labels, queries, best first."""
    scores = class_logits.float().softmax(dim=-1)[:, :-1]
    best, index = scores.flatten().topk(min(count, scores.numel()))
    classes = scores.shape[1]
    return best, index % classes, index // classes


def _processor(short_side: int) -> Any:
    library = require("transformers", "Mask2FormerImageProcessorPil")
    size = {"shortest_edge": short_side, "longest_edge": _LONG_SIDE}
    return library.Mask2FormerImageProcessorPil(size=size, ignore_index=255)


def _names_for(filename: str) -> tuple[str, ...] | None:
    if "2019" in filename:
        return YOUTUBE_VIS_2019
    return YOUTUBE_VIS_2021 if "2021" in filename else None

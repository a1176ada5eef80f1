"""VidEoMT (a plain ViT whose queries run through time), streaming: a query is an object, its id the query's.

transformers' model takes a whole clip and its post-processing renumbers the objects of every frame.
Here the queries that one frame hands to the next are kept between calls, so memory does not grow
with the video, and the query's index becomes the id: use the tracker ``native``. Cut into chunks
anyhow, a video gives what the whole of it gives at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.query_masks import best_classes, detections_from, mask_quality, resize_logits
from vis.errors import UsageError
from vis.structures import Detections
from vis.weights.hub import (
    checkpoint_folder,
    class_names_of,
    load_model,
    load_processor,
    require,
    torch_device,
    weights_sha256,
)

__all__ = ["Videomt"]


class Videomt:
    """A VidEoMT checkpoint, frame after frame."""

    def __init__(
        self,
        *,
        weights: str | Path = "tue-mps/videomt-dinov2-small-ytvis2019",
        score: float = 0.3,
        device: str = "auto",
    ) -> None:
        """``weights``: a hub name or a folder. ``score``: least class probability times mask quality."""
        if not 0 <= score <= 1:
            raise UsageError(f"score {score}: give 0 <= score <= 1")
        library = require("transformers", "VideomtForUniversalSegmentation", "VideomtVideoProcessor")
        folder = checkpoint_folder(weights)
        self._device = torch_device(device)
        self._model = load_model(library.VideomtForUniversalSegmentation, folder).to(self._device)
        self._processor = load_processor(library.VideomtVideoProcessor, folder)
        self.weights_sha256 = weights_sha256(folder)
        self._score = score
        self.reset()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return class_names_of(self._model.config)

    def reset(self) -> None:
        """Begin another video: the queries are the learned ones again."""
        self._queries: Any = None

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of the next frames, best first, with masks, ids and query embeddings."""
        import torch

        if not images:
            return []
        if len({image.shape for image in images}) > 1:
            return [found for image in images for found in self.detect([image])]
        size = (images[0].shape[0], images[0].shape[1])
        with torch.inference_mode():
            return [self._next_frame(tokens, size) for tokens in self._frame_tokens(images)]

    def _frame_tokens(self, images: Sequence[NDArray[np.uint8]]) -> Any:
        """The layers that know no queries, all frames in one batch: tokens (T, P, D)."""
        model = self._model
        video = self._processor(videos=[np.stack(images)], return_tensors="pt")["pixel_values_videos"][0]
        tokens = model.embeddings(video.to(self._device, next(model.parameters()).dtype))
        for layer in model.layers[: len(model.layers) - model.config.num_blocks]:
            tokens = layer(tokens)
        return tokens

    def _next_frame(self, tokens: Any, size: tuple[int, int]) -> Detections:
        """The last blocks, with the queries that the frame before left: a recurrence over frames."""
        import torch

        model = self._model
        count = model.config.num_queries
        queries = model.query.weight[None]
        if self._queries is not None:
            queries = model.query_updater(self._queries) + queries
        states = torch.cat((queries, tokens[None]), dim=1)
        for layer in model.layers[len(model.layers) - model.config.num_blocks :]:
            states = layer(states)
        self._queries = states[:, :count]
        normed = model.layernorm(states)[0]
        return self._objects(normed[:count], normed[count + model.embeddings.num_prefix_tokens :], size)

    def _objects(self, queries: Any, patches: Any, size: tuple[int, int]) -> Detections:
        import torch

        model = self._model
        scores, labels = best_classes(model.class_predictor(queries))
        # A mask's quality is at most 1, so weaker classes cannot reach the score.
        rows = (scores >= self._score).nonzero()[:, 0]
        pixels = model.upscale_block(patches.T.reshape(1, -1, *model.grid_size))[0]
        logits = torch.einsum("nc,chw->nhw", model.mask_head(queries[rows]), pixels)
        logits = resize_logits(logits, size)
        scores = scores[rows] * mask_quality(logits.float())
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] >= self._score]
        rows = rows[best]
        return detections_from(
            scores[best], labels[rows], logits[best] > 0, ids=rows + 1, embeddings=queries[rows]
        )

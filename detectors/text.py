"""Grounding DINO (Liu et al. 2023) and MM Grounding DINO (Zhao et al. 2024), through transformers: boxes by text.

``text="person . red car"`` asks for two classes. Knows no masks: the refiner makes them from boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.hub_detector import HubDetector
from detectors.rfdetr import corners
from vis import boxes as box_maths
from vis.errors import UsageError
from vis.structures import Detections
from vis.weights.hub import checkpoint_folder, load_processor, model_type_of, require

__all__ = ["TextDetector", "phrase_of_token", "phrases_of"]


_MODELS = {"mm-grounding-dino": "MMGroundingDinoForObjectDetection"}
"""Model type of a checkpoint -> class that reads it, where it is not the first Grounding DINO's."""


class TextDetector(HubDetector):
    """Boxes for phrases."""

    def __init__(
        self,
        *,
        text: str,
        weights: str | Path = "IDEA-Research/grounding-dino-tiny",
        score: float = 0.3,
        nms_iou: float = 0.8,
        max_detections: int = 100,
        device: str = "auto",
    ) -> None:
        """``text``: phrases with full stops between them. ``weights``: a hub name or a folder.

        ``score``: least probability that a box answers to a word of the text. ``nms_iou``: of two
        boxes that overlap more, whatever their phrases, the better stays; 1 keeps all.
        """
        self._phrases = phrases_of(text)
        if not 0 <= score <= 1 or not 0 <= nms_iou <= 1:
            raise UsageError(f"score {score} and nms_iou {nms_iou}: give values in [0, 1]")
        model = _MODELS.get(model_type_of(checkpoint_folder(weights)), "GroundingDinoForObjectDetection")
        folder = self._load(weights, device, model, "GroundingDinoImageProcessorPil")
        tokenizer = load_processor(require("transformers", "AutoTokenizer").AutoTokenizer, folder)
        self._tokens = tokenizer(" . ".join(self._phrases) + " .", return_tensors="pt")
        self._phrase_of_token = phrase_of_token(
            self._tokens["input_ids"][0].tolist(),
            tokenizer.convert_tokens_to_ids("."),
            set(tokenizer.all_special_ids),
        )
        longest = int(self._model.config.max_text_len)
        if len(self._phrase_of_token) > longest:
            raise UsageError(
                f"the text has {len(self._phrase_of_token)} tokens, the model reads {longest}; shorten it"
            )
        if set(range(len(self._phrases))) - set(self._phrase_of_token):
            raise UsageError(f"text {text!r}: a phrase has no words that the model knows")
        self._score, self._nms_iou, self._max_detections = score, nms_iou, max_detections

    @property
    def class_names(self) -> tuple[str, ...]:
        """The phrases, in the order given."""
        return self._phrases

    def _detect_batch(self, images: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> list[Detections]:
        pixels = self._processor(images=list(images), return_tensors="pt")
        words = {name: value.expand(len(images), -1).to(self._device) for name, value in self._tokens.items()}
        dtype = next(self._model.parameters()).dtype
        output = self._model(
            pixel_values=pixels["pixel_values"].to(self._device, dtype),
            pixel_mask=pixels["pixel_mask"].to(self._device),
            **words,
        )
        return [self._objects(output, row, size) for row in range(len(images))]

    def _objects(self, output: Any, row: int, size: tuple[int, int]) -> Detections:
        import torch

        tokens = output.logits[row].sigmoid()[:, : len(self._phrase_of_token)].float()
        phrase = torch.tensor(self._phrase_of_token, device=tokens.device)
        per_phrase = torch.stack(
            [tokens[:, phrase == index].amax(dim=1) for index in range(len(self._phrases))], dim=1
        )
        scores, labels = (value.cpu().numpy() for value in per_phrase.max(dim=1))
        boxes = corners(output.pred_boxes[row].float().cpu().numpy(), size)
        keep = np.flatnonzero((scores > self._score) & (box_maths.area(boxes) > 0))
        keep = keep[box_maths.nms(boxes[keep], scores[keep], self._nms_iou)][: self._max_detections]
        return Detections(boxes[keep], scores[keep], labels[keep].astype(np.int64))


def phrases_of(text: str) -> tuple[str, ...]:
    """The phrases between full stops, in lower case; UsageError where there are none."""
    phrases = tuple(phrase.strip().lower() for phrase in text.split(".") if phrase.strip())
    if not phrases:
        raise UsageError(f"text {text!r} names nothing; write phrases with full stops: 'person . red car'")
    return phrases


def phrase_of_token(tokens: Sequence[int], full_stop: int, special: set[int]) -> list[int]:
    """Which phrase each token belongs to, counted by full stops; -1 for full stops and special tokens."""
    phrases, current = [], 0
    for token in tokens:
        outside = token == full_stop or token in special
        phrases.append(-1 if outside else current)
        current += token == full_stop
    return phrases

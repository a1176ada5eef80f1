"""SAM 3 (2025) by words, through transformers: whatever a text names, with masks and ids of its own.

``text="person . red car"`` asks for two concepts: each phrase is one, and its objects bear its label. The model finds
objects in every frame, and carries those that it has found by SAM 2's memory. What it holds of a frame is dropped as
soon as no later frame reads it, so memory grows with the objects found, not with the video.

This is the library's streaming mode: objects are told at once, so those that prove false within the first 15 frames
are not taken back, as they are where the whole video is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.query_masks import detections_from
from detectors.text import phrases_of
from vis.devices import pick_device
from vis.errors import FallbackWarning, UsageError
from vis.structures import Detections
from vis.weights.hub import (
    checkpoint_folder,
    load_model,
    load_processor,
    quiet_library,
    require,
    weights_sha256,
)

__all__ = ["Sam3Concepts"]

_LONGEST = 32  # tokens of a phrase; the library pads to as many


class Sam3Concepts:
    """Objects of concepts, with ids that hold."""

    def __init__(
        self,
        *,
        text: str,
        weights: str | Path = "facebook/sam3",
        score: float = 0.5,
        new_score: float = 0.7,
        max_objects: int = 100,
        device: str = "auto",
        dtype: str | None = None,
    ) -> None:
        """``text``: phrases with full stops between them. ``weights``: a hub name or a folder.

        ``score``: least probability of a detection, to support an object that is there; ``new_score``: to begin one.
        ``max_objects``: no more are followed at once. ``dtype``: "float32", "bfloat16" or "float16"; None takes what
        the checkpoint is stored in. Warns :class:`FallbackWarning` where the package ``kernels`` is missing, with which
        the model drops double detections and fills holes.
        """
        self._phrases = tuple(dict.fromkeys(phrases_of(text)))  # each concept once
        if not 0 <= score <= 1 or not 0 <= new_score <= 1 or max_objects < 1:
            raise UsageError(
                f"score {score}, new_score {new_score} and max_objects {max_objects}: give scores in [0, 1] and "
                "1 or more objects"
            )
        library = require("transformers", "Sam3VideoModel", "Sam3VideoProcessor", "Sam3ImageProcessor")
        folder = checkpoint_folder(weights)
        self._device = pick_device(device)
        options = {} if dtype is None else {"dtype": dtype}
        self._model = load_model(library.Sam3VideoModel, folder, **options).to(self._device)
        self._model.score_threshold_detection = score
        self._model.new_det_thresh = max(score, new_score)
        self._model.max_num_objects = max_objects
        images = load_processor(library.Sam3ImageProcessor, folder)
        tokenizer = load_processor(library.AutoTokenizer, folder)
        for phrase in self._phrases:
            if (count := len(tokenizer(phrase)["input_ids"])) > _LONGEST:
                raise UsageError(
                    f"phrase {phrase!r} has {count} tokens, the model reads {_LONGEST}; shorten it"
                )
        self._processor = library.Sam3VideoProcessor(images, library.Sam2VideoVideoProcessor(), tokenizer)
        self.weights_sha256 = weights_sha256(folder)
        if not library.utils.is_kernels_available():
            warnings.warn(
                "without the package kernels SAM 3 keeps double detections and small holes: run `pip install kernels`",
                FallbackWarning,
                stacklevel=2,
            )
        self.reset()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The phrases, in the order given."""
        return self._phrases

    def reset(self) -> None:
        """Begin another video: ids start anew."""
        self._session = self._processor.init_video_session(
            inference_device=self._device, dtype=self._model.dtype
        )
        self._processor.add_text_prompt(self._session, list(self._phrases))
        self._session.processed_frames = _PassedFrames()
        self._count = 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of the next frames with masks, labels, ids and scores, the oldest first.

        An object's score is that of the detection which began it.
        """
        return [self._next_frame(image) for image in images]

    def _next_frame(self, image: NDArray[np.uint8]) -> Detections:
        import torch

        session, size = self._session, (image.shape[0], image.shape[1])
        with torch.inference_mode(), quiet_library():
            pixels = self._processor(images=image, device=self._device, return_tensors="pt")["pixel_values"]
            session.processed_frames.count = self._count + 1
            output = self._model(session, frame=pixels.to(self._device), frame_idx=self._count)
            found = self._processor.postprocess_outputs(session, output, original_sizes=[list(size)])
        self._forget()
        self._count += 1
        ids = found["object_ids"]
        labels = [session.obj_id_to_prompt_id[one] for one in ids.tolist()]
        return detections_from(
            found["scores"], torch.tensor(labels, dtype=torch.int64), found["masks"], ids=ids + 1
        )

    def _forget(self) -> None:
        """Drop what no later frame reads."""
        session, tracker = self._session, self._model.tracker_model
        session.processed_frames.clear()
        session.cache.clear_all()
        for told in (
            session.obj_id_to_tracker_score_frame_wise,
            session.suppressed_obj_ids,
            session.unmatched_frame_inds,  # these two count towards taking objects back,
            session.overlap_pair_to_frame_inds,  # which needs the whole video
        ):
            told.clear()
        for kept in (
            *session.mask_inputs_per_obj.values(),
            *session.point_inputs_per_obj.values(),
            *session.frames_tracked_per_obj.values(),
        ):
            kept.clear()
        for outputs in session.output_dict_per_obj.values():
            _keep_memory(outputs, self._count, tracker.num_maskmem, tracker.config)


class _PassedFrames(dict[int, Any]):
    """The frames of a session, which are dropped as they pass: their number stays right."""

    count = 0

    def __len__(self) -> int:
        return self.count


def _keep_memory(outputs: dict[str, dict[int, Any]], now: int, memories: int, config: Any) -> None:
    """Leave of one object's outputs what the tracker's memory reads after frame ``now``.

    It reads the features of the frames just before, and of the latest frames that the detector confirmed; of these
    (one in 16 frames at most) all pointers, and the pointers of the latest frames.
    """
    confirmed, passed = outputs["cond_frame_outputs"], outputs["non_cond_frame_outputs"]
    latest = set(sorted(confirmed)[-config.max_cond_frame_num :])
    for frames in (confirmed, passed):
        for index, output in list(frames.items()):
            ahead = now + 1 - index
            if frames is passed and ahead >= max(memories, config.max_object_pointers_in_encoder):
                del frames[index]
                continue
            wanted = {"object_pointer"}
            if ahead < memories or (frames is confirmed and index in latest):
                wanted |= {"maskmem_features", "maskmem_pos_enc"}
            for key in set(output) - wanted:
                del output[key]

"""Objects carried through a video by the memory of SAM 2 and its kin, picture by picture.

Each object has a session of the library of its own: on its prompt's picture the session gets the prompt, and from
there on the library attends to what the session remembers. A session keeps everything it ever saw; after each picture
only what the next ones can still read stays::

    pictures          p . . . . . . . f | f+1
    memory features   +         + + + + |         the prompt's, and the last num_maskmem - 1
    object pointers   + + + + + + + + + |         the prompt's, and the last max_object_pointers - 1
    pixels, features,                   |         nothing: read on their own picture only
    masks

Whether time runs forwards or backwards makes no difference: the library counts pictures from the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vis.errors import PromptError
from vis.follow.follower import ObjectState
from vis.follow.prompts import Prompt
from vis.prompts import check_image
from vis.sam2.layout import padded_of
from vis.sam2.loading import EDGETAM, SAM2, SAM3, Family, Loaded, load
from vis.sam2.predictor import pixels_of
from vis.weights.hub import require

__all__ = ["EdgeTamEngine", "MemoryPropagator", "Sam2Engine", "Sam3Engine"]

Bool = NDArray[np.bool_]
_ID = 0
"""The one object of a session, as the library counts them."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureFeatures:
    """What the network knows of one picture before any object."""

    frame_size: tuple[int, int]
    """(height, width) of the picture in pixels."""
    pixels: Tensor
    """(1, 3, side, side), as the image encoder took them."""
    features: dict[str, list[Tensor]]
    """As the library keeps them: ``vision_feats`` and ``vision_pos_embeds``."""


@dataclass(slots=True)
class _Object:
    session: Any
    last: ObjectState
    count: int = 0
    """Pictures since its prompt."""


class _MemoryEngine:
    """One video model, loaded."""

    family: Family
    session_class: str

    def __init__(self, *, model: str, device: str = "auto", dtype: str | None = None) -> None:
        """Arguments as for :func:`vis.sam2.loading.load`."""
        require("transformers", self.session_class)
        self._loaded: Loaded = load(self.family, self.family.video_model, model, device=device, dtype=dtype)
        self.weights_sha256 = self._loaded.weights_sha256

    def describe(self) -> dict[str, Any]:
        """What runs: ``network``, ``size``, ``mode`` (its dtype) and ``device``."""
        model = self._loaded.model
        mode = str(model.dtype).removeprefix("torch.")
        return {
            "network": self.family.title,
            "size": self._loaded.size,
            "mode": mode,
            "device": str(model.device),
        }

    def propagator(self) -> MemoryPropagator:
        """A new one, without objects."""
        session = getattr(require("transformers"), self.session_class)
        return MemoryPropagator(self._loaded.model, self._loaded.processor, session)


class Sam2Engine(_MemoryEngine):
    """SAM 2.1."""

    family, session_class = SAM2, "Sam2VideoInferenceSession"


class EdgeTamEngine(_MemoryEngine):
    """EdgeTAM."""

    family, session_class = EDGETAM, "EdgeTamVideoInferenceSession"


class Sam3Engine(_MemoryEngine):
    """SAM 3's tracker."""

    family, session_class = SAM3, "Sam3TrackerVideoInferenceSession"


class MemoryPropagator:
    """A :class:`vis.follow.engine.Propagator` over a video model of transformers."""

    def __init__(self, model: Any, processor: Any, session_class: Any) -> None:
        self._model, self._processor, self._session_class = model, processor, session_class
        self._objects: dict[int, _Object] = {}
        self._frame_size: tuple[int, int] | None = None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects that are followed, lost ones among them."""
        return tuple(self._objects)

    @property
    def bytes_held(self) -> int:
        """Bytes of the tensors that all sessions hold now."""
        held = {}
        for one in self._objects.values():
            for tensor in _tensors(vars(one.session) | {"cache": vars(one.session.cache)}):
                storage = tensor.untyped_storage()
                held[storage.data_ptr()] = storage.nbytes()
        return sum(held.values())

    @torch.inference_mode()
    def embed(self, image: NDArray[np.uint8]) -> PictureFeatures:
        """The features of one picture, RGB uint8 (H, W, 3), for all objects."""
        pixels = pixels_of(self._processor, self._model, check_image(image))
        out = self._model.get_image_features(pixels, return_dict=True)
        features = {
            "vision_feats": list(out.fpn_hidden_states),
            "vision_pos_embeds": list(out.fpn_position_encoding),
        }
        return PictureFeatures((image.shape[0], image.shape[1]), pixels, features)

    @torch.inference_mode()
    def start(
        self, object_id: int, image: NDArray[np.uint8], embedding: PictureFeatures, prompt: Prompt
    ) -> ObjectState:
        """Begin to follow an object, or set one right: what was remembered of it before is forgotten.

        The library takes a mask or points and a box. A mask that comes with points gives them its box. A mask alone is
        taken as it is. Raises :class:`PromptError` where the mask is empty.
        """
        del image  # its features hold all that counts
        self._check_size(embedding)
        device, dtype = self._model.device, self._model.dtype
        session = self._session_class(inference_device=device, inference_state_device=device, dtype=dtype)
        session.video_height, session.video_width = embedding.frame_size
        session.obj_id_to_idx(_ID)
        alone = prompt.mask is not None and not prompt.points and prompt.box is None
        if alone and prompt.mask is not None:
            session.add_mask_inputs(0, 0, self._mask_input(prompt.mask))
        else:
            session.add_point_inputs(0, 0, self._point_inputs(prompt, embedding.frame_size))
        session.obj_with_new_inputs = [_ID]
        mask, logits, score = self._looked(session, 0, embedding)
        if alone and prompt.mask is not None:
            mask, score = prompt.mask, 1.0
        if not mask.any():
            raise PromptError(
                f"object {object_id}: its prompt gives an empty mask; click inside of the object, or draw a box"
            )
        seen = ObjectState(object_id, mask, _box_of(mask), score, False, logits)
        self._objects[object_id] = _Object(session, seen)
        return seen

    def stop(self, object_id: int) -> None:
        """Follow an object no longer."""
        del self._objects[object_id]

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8], embedding: PictureFeatures) -> tuple[ObjectState, ...]:
        """The objects on the next picture, in the order of their starts; empty masks are lost objects."""
        del image
        self._check_size(embedding)
        for object_id, one in self._objects.items():
            one.count += 1
            mask, logits, score = self._looked(one.session, one.count, embedding)
            lost = not mask.any()
            box = one.last.box if lost else _box_of(mask)
            one.last = ObjectState(object_id, mask, box, 0.0 if lost else score, lost, logits)
        return tuple(one.last for one in self._objects.values())

    def _looked(
        self, session: Any, count: int, embedding: PictureFeatures
    ) -> tuple[Bool, NDArray[np.float32], float]:
        """Mask (H, W), logits (s, s) in the padded square, and score in [0, 1], of one object on one picture."""
        session.cache.cache_vision_features(count, embedding.features)
        out = self._model(session, frame_idx=count, frame=embedding.pixels)
        logits = out.pred_masks.float().reshape(1, 1, *out.pred_masks.shape[-2:])
        mask = F.interpolate(logits, embedding.frame_size, mode="bilinear")[0, 0] > 0
        score = float(out.object_score_logits.float().sigmoid().flatten()[0])
        self._forget(session, count)
        square = padded_of(logits[0, 0], embedding.frame_size)
        return mask.cpu().numpy(), square.cpu().numpy(), score

    def _forget(self, session: Any, count: int) -> None:
        """Drop what no later picture reads: see the drawing above."""
        config = self._model.config
        memories, pointers = self._model.num_maskmem, config.max_object_pointers_in_encoder
        session.processed_frames = None
        session.cache.clear_all()
        session.point_inputs_per_obj[0].clear()
        session.mask_inputs_per_obj[0].clear()
        session.frames_tracked_per_obj[0].clear()
        outputs = session.output_dict_per_obj[0]
        for kept in (*outputs["cond_frame_outputs"].values(), *outputs["non_cond_frame_outputs"].values()):
            kept.pop("pred_masks", None)
            kept.pop("high_res_masks", None)
        passed = outputs["non_cond_frame_outputs"]
        for index in list(passed):
            ahead = count + 1 - index  # how far the next picture is from it
            if ahead >= max(memories, pointers):
                del passed[index]
            elif ahead >= memories and "maskmem_features" in passed[index]:
                # The library reads features of the pictures just before, and of these the pointer alone.
                del passed[index]["maskmem_features"], passed[index]["maskmem_pos_enc"]

    def _mask_input(self, mask: Bool) -> Tensor:
        """(1, 1, side, side) of 0 and 1."""
        side = self._model.image_size
        given = torch.from_numpy(np.ascontiguousarray(mask)).to(self._model.device)[None, None].float()
        if given.shape[-2:] == (side, side):
            return given
        wide = F.interpolate(given, (side, side), mode="bilinear", antialias=True)
        return (wide >= 0.5).float()

    def _point_inputs(self, prompt: Prompt, frame_size: tuple[int, int]) -> dict[str, Tensor]:
        """Corners of the box (labels 2 and 3) and points, (1, 1, P, 2) in the network's pixels, with labels."""
        box = prompt.box
        if box is None and prompt.mask is not None and prompt.mask.any():
            x0, y0, x1, y1 = _box_of(prompt.mask).tolist()
            box = x0, y0, x1, y1
        points, labels = list(prompt.points), list(prompt.point_labels)
        if box is not None:
            points, labels = [(box[0], box[1]), (box[2], box[3]), *points], [2, 3, *labels]
        if not points:
            raise PromptError("the prompt is empty: give points, a box or a mask")
        side = self._model.image_size
        scale = torch.tensor([side / frame_size[1], side / frame_size[0]], dtype=torch.float32)
        return {
            "point_coords": (torch.tensor(points, dtype=torch.float32) * scale)[None, None],
            "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
        }

    def _check_size(self, embedding: PictureFeatures) -> None:
        self._frame_size = self._frame_size or embedding.frame_size
        if self._frame_size != embedding.frame_size:
            raise PromptError(
                f"a picture of {embedding.frame_size} follows one of {self._frame_size}; all must have one size"
            )


def _tensors(value: Any) -> list[Tensor]:
    """Every tensor in nested dictionaries and lists."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in _tensors(one)]
    if isinstance(value, (list, tuple)):
        return [tensor for one in value for tensor in _tensors(one)]
    return []


def _box_of(mask: Bool) -> NDArray[np.float32]:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)

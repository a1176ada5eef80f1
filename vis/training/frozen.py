"""The frozen SAM under the HQ head: everything that training reads and never changes.

What the head needs of an image and of a prompt depends on frozen weights only, so it can be computed
once and kept: the image embedding, the early feature, SAM's upscaled features, SAM's mask and the HQ
token's output. Training the rest of the head (MLP, fusion convolutions) from these costs tens of
milliseconds on a CPU core, instead of seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vis.devices import pick_device
from vis.errors import CheckpointError
from vis.hqsam import SamModel, build_model, hq_parameter_names
from vis.hqsam.network.checkpoints import State
from vis.hqsam.network.mask_decoder import MaskDecoder
from vis.hqsam.resize import network_size, shrink
from vis.training.prompts import Prompt

__all__ = [
    "DecodedPrompt",
    "EmbeddedImage",
    "FrozenSam",
    "frozen_fingerprint",
    "head_parameters",
    "initial_head",
    "with_head",
]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedImage:
    """The encoder's view of one image."""

    features: Tensor
    """(1, 256, g, g)"""
    early: Tensor
    """(1, E, g, g)"""
    frame_size: tuple[int, int]
    """(height, width) of the image in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPrompt:
    """What the frozen decoder says about one prompt; of several, with a leading axis N."""

    upscaled: Tensor
    """(32, 4g, 4g): SAM's upscaled features."""
    sam_logits: Tensor
    """(4g, 4g): SAM's single mask."""
    hf_token: Tensor
    """(256,): the HQ token after the transformer."""


class FrozenSam:
    """Runs a model's frozen part on images and prompts in pixels."""

    def __init__(self, model: SamModel, *, bfloat16: bool = False) -> None:
        """``bfloat16``: run the encoder in that precision: 2.4 times as fast on CPUs that have it, several times slower
        on others."""
        self.model = model.eval()
        self.bfloat16 = bfloat16
        with torch.no_grad():
            self.position = model.prompt_encoder.dense_position()

    @property
    def side(self) -> int:
        """Pixels of the square network input."""
        return self.model.size.image_size

    @torch.no_grad()
    def embed(self, image: NDArray[np.uint8]) -> EmbeddedImage:
        """Embed one image, RGB uint8 (H, W, 3)."""
        pixels = torch.from_numpy(shrink(image, self.side)).permute(2, 0, 1)
        return EmbeddedImage(*self.embed_batch([pixels]), (image.shape[0], image.shape[1]))

    @torch.no_grad()
    def embed_batch(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features (N, 256, g, g) and early features (N, E, g, g) of images uint8 (3, h, w) in network size."""
        device = self.model.device
        pixels = torch.cat([self.model.normalise(image[None].to(device)) for image in images])
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            features, early = self.model.image_encoder(pixels)
        return features.float(), early.float()

    def decode(self, image: EmbeddedImage, prompt: Prompt) -> DecodedPrompt:
        """Decode one object's prompt, in pixels of the image. Keeps gradients."""
        out = self.decode_batch(image.features, [image.frame_size], [prompt])
        return DecodedPrompt(out.upscaled[0], out.sam_logits[0], out.hf_token[0])

    def decode_batch(
        self, features: Tensor, frame_sizes: Sequence[tuple[int, int]], prompts: Sequence[Prompt]
    ) -> DecodedPrompt:
        """Decode N prompts of one form, each on an image of its own. Keeps gradients.

        Args:
            features: (N, 256, g, g)
            frame_sizes: (height, width) of the N images.
            prompts: in pixels of their images; all with a box or none, all with as many points, and so on.

        Returns:
            Its fields with a leading axis N.
        """
        model = self.model
        scales = np.stack([_scale(size, self.side) for size in frame_sizes])

        def tensors(name: str, scale: NDArray[np.float32] | None = None) -> Tensor | None:
            rows = [getattr(prompt, name) for prompt in prompts]
            if rows[0] is None:
                return None
            stacked = np.stack(rows)
            return torch.from_numpy(stacked if scale is None else stacked * scale).to(model.device)

        mask = tensors("mask")
        sparse, dense = model.prompt_encoder(
            tensors("points", scales[:, None]),
            tensors("labels"),
            tensors("box", np.tile(scales, 2)),
            None if mask is None else mask[:, None],
        )
        output = model.mask_decoder.decode(features, self.position, sparse, dense)
        if output.hf_token is None:
            raise CheckpointError("the model has no HQ branch; lay one over it with initial_head")
        sam = model.mask_decoder.sam_masks(output, slice(0, 1))
        return DecodedPrompt(output.upscaled, sam[:, 0], output.hf_token)


def _scale(frame_size: tuple[int, int], side: int) -> NDArray[np.float32]:
    """x, y: network pixels per frame pixel."""
    height, width = network_size(frame_size, side)
    return np.array([width / frame_size[1], height / frame_size[0]], np.float32)


_TOKEN = 2
"""SAM's mask token (0 the single mask, 1 to 3 the others) that the HQ token and its MLP begin as. Another one than 0
makes SAM + HQ a vote of two masks."""
_FUSION_GAIN = 0.003
"""Spread of the fusion branches' last convolutions relative to the usual one: they add almost nothing."""
_PASS_GAIN = 0.7
"""Size of the HQ logits relative to that mask's."""


def initial_head(state: State, *, seed: int = 0) -> dict[str, Tensor]:
    """The 25 HQ tensors to start from, for a plain SAM's ``state`` (official names).

    The branch starts as one of SAM's own masks, so that training is a correction of what is already good.

    HQ tensors in ``state`` are ignored; ``seed`` is of the fusion branches' weights.
    """
    wanted = hq_parameter_names("vit_b")
    plain = {k: v for k, v in state.items() if k not in wanted}
    generator = torch.Generator().manual_seed(seed)
    head: dict[str, Tensor] = {}
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in MaskDecoder(_early_width(plain), hq=True).state_dict().items()}
    for name, shape in shapes.items():
        key = f"mask_decoder.{name}"
        if key not in wanted:
            continue
        if name == "hf_token.weight":
            head[key] = plain["mask_decoder.mask_tokens.weight"][_TOKEN : _TOKEN + 1].clone()
        elif name.startswith("hf_mlp."):
            head[key] = plain[key.replace("hf_mlp", f"output_hypernetworks_mlps.{_TOKEN}")].clone()
        elif ".1." in name:
            head[key] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        elif name.endswith("bias"):
            head[key] = torch.zeros(shape)
        else:
            gain = _FUSION_GAIN if ".3." in name else 1.0
            # Kaiming's bound: a transposed convolution with stride = kernel has a fan-in of its width.
            head[key] = (torch.rand(shape, generator=generator) * 2 - 1) * gain * (3.0 / shape[0]) ** 0.5
    _pass_through(head, _PASS_GAIN)
    return head


def _pass_through(head: dict[str, Tensor], gain: float) -> None:
    """Make ``embedding_maskfeature`` return ``gain`` times its input x, very nearly.

    The first convolution gives v = x + s and -v, where s is +-0.3 by channel and x has a root mean square
    of about 0.1. Their mean over channels is zero and their root mean square near 0.316 everywhere, which
    layer normalisation takes off and its weight puts back; GELU(v) - GELU(-v) = v, and the last bias takes
    s off again.
    """
    block = "mask_decoder.embedding_maskfeature"
    eye = torch.eye(32)
    signs = torch.full((32,), 0.3)
    signs[::2] *= -1
    first, last = torch.zeros(64, 32, 3, 3), torch.zeros(32, 64, 3, 3)
    first[:, :, 1, 1] = torch.cat([eye, -eye])
    last[:, :, 1, 1] = torch.cat([eye, -eye], dim=1)
    head[f"{block}.0.weight"], head[f"{block}.0.bias"] = first, torch.cat([signs, -signs])
    head[f"{block}.1.weight"] = torch.full((64,), 0.316)
    head[f"{block}.3.weight"], head[f"{block}.3.bias"] = gain * last, -gain * signs


def with_head(state: State, head: State, *, device: str = "cpu") -> SamModel:
    """A plain SAM's state and an HQ head as one model on a device ("auto": CUDA where there is one)."""
    model = build_model({**state, **head}, mode="exact", origin="SAM with an HQ head")
    return model.to(pick_device(device))


def head_parameters(model: SamModel) -> dict[str, torch.nn.Parameter]:
    """The 25 trainable tensors of a model by their official names."""
    wanted = set(hq_parameter_names("vit_b"))
    return {name: p for name, p in model.named_parameters() if name in wanted}


def frozen_fingerprint(model: SamModel) -> str:
    """SHA-256 over every byte that training must not change (parameters and buffers)."""
    digest = hashlib.sha256()
    trained = set(hq_parameter_names("vit_b"))
    for name, tensor in sorted(model.state_dict().items()):
        if name not in trained:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _early_width(state: State) -> int:
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        return int(state["image_encoder.layers.1.downsample.conv3.c.weight"].shape[0])
    if "image_encoder.pos_embed" in state:
        return int(state["image_encoder.pos_embed"].shape[-1])
    raise CheckpointError("the given weights are no SAM checkpoint; expected vit_b, vit_l, vit_h or vit_tiny")

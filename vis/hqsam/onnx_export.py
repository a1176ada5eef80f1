"""ONNX files of a SAM or HQ-SAM: one for the image encoder, one for prompts and mask decoder.

Encoder: ``frame`` (1, 3, S, S), normalised and padded as ``SamModel.normalise`` does it, to ``features``
(1, 256, g, g) and, for an HQ-SAM, ``hq_features`` (1, 32, 4g, 4g).

Decoder: those, and prompts of N objects in network pixels: ``points`` (N, K, 2) with ``labels`` (N, K)
float: 1 inside, 0 outside, -1 no point, and a box as two points with labels 2 (top left) and 3 (bottom
right). Points without a box want one more point of label -1, as SAM was trained. ``masks`` (N, 1, 4g, 4g)
logits count when ``has_mask`` (1,) is 1. N and K are free. Out come ``sam_logits`` (N, 4, 4g, 4g), the
single mask and the three, their ``scores`` (N, 4), and for an HQ-SAM ``hq_logits`` (N, 1, 4g, 4g): add
them to the single mask's, and upsample.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vis.errors import DependencyError, UsageError
from vis.files import whole_file
from vis.hqsam.network.model import SamModel

__all__ = ["DecoderGraph", "EncoderGraph", "export_decoder", "export_encoder"]

_OPSET = 17


class EncoderGraph(nn.Module):
    """Frame to features, with the frame-only part of the HQ branch."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """See the module docstring."""
        features, early = self.model.image_encoder(frame)
        if not self.model.has_hq:
            return (features.contiguous(),)
        return features.contiguous(), self.model.mask_decoder.hq_features(features, early)


class DecoderGraph(nn.Module):
    """Features and prompts to logits and scores."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            self.register_buffer("position", model.prompt_encoder.dense_position())
        self.position: Tensor

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
        *hq_features: Tensor,
    ) -> tuple[Tensor, ...]:
        """See the module docstring; ``hq_features`` is one map where the model has the HQ branch, else nothing."""
        prompt, decoder = self.model.prompt_encoder, self.model.mask_decoder
        given = prompt.mask_downscaling(masks)
        none = prompt.no_mask_embed.weight.view(1, -1, 1, 1)
        dense = has_mask * given + (1 - has_mask) * none
        image = (features + dense) - none  # the decoder adds a dense map of its own: the empty one
        tokens, rows = decoder.transform(image, self.position, prompt.encode_labelled(points, labels), none)
        output = decoder.upscale(tokens, rows)
        out = (decoder.sam_masks(output, slice(0, 4)), decoder.iou(output.iou_token))
        return (*out, *(decoder.hq_mask(output, features) for features in hq_features))


def export_encoder(model: SamModel, path: str | Path) -> None:
    """Write the encoder to ``path``; vit_h does not fit, an ONNX file ends at 2 GB."""
    if sum(p.numel() for p in model.image_encoder.parameters()) > 2**29:
        raise UsageError(f"{model.size.name} is larger than the 2 GB that one ONNX file holds; export vit_l")
    side = model.size.image_size
    names = ["features", "hq_features"] if model.has_hq else ["features"]
    frame = torch.zeros(1, 3, side, side)
    _export(EncoderGraph(model), {"frame": frame}, outputs=names, free={}, path=Path(path))


def export_decoder(model: SamModel, path: str | Path) -> None:
    """Write the decoder to ``path``."""
    g = model.size.grid
    inputs = {
        "features": torch.zeros(1, 256, g, g),
        "points": torch.rand(2, 3, 2) * model.size.image_size,
        "labels": torch.tensor([[1.0, 2, 3], [0, 2, 3]]),
        "masks": torch.zeros(2, 1, 4 * g, 4 * g),
        "has_mask": torch.zeros(1),
    }
    outputs = ["sam_logits", "scores"]
    if model.has_hq:
        inputs["hq_features"] = torch.zeros(1, 32, 4 * g, 4 * g)
        outputs.append("hq_logits")
    free = {
        "points": {0: "objects", 1: "points"},
        "labels": {0: "objects", 1: "points"},
        "masks": {0: "objects"},
    }
    free |= {name: {0: "objects"} for name in outputs}
    _export(DecoderGraph(model), inputs, outputs=outputs, free=free, path=Path(path))


def _export(
    graph: nn.Module,
    inputs: dict[str, Tensor],
    *,
    outputs: list[str],
    free: dict[str, dict[int, str]],
    path: Path,
) -> None:
    # The tracing exporter: the newer one needs onnxscript, and what is traced here has no branches.
    with whole_file(path) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph.cpu().eval(),
                tuple(inputs.values()),
                str(temporary),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes=free,
                opset_version=_OPSET,
                dynamo=False,
            )
        except ModuleNotFoundError as error:
            raise DependencyError(f"ONNX export needs a package: pip install {error.name}") from error

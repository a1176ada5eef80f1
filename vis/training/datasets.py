"""Images with masks in the layouts that people have them in. Knows no network.

* ``hqseg44k``: the published folders of HQSeg-44K (DIS5K, ThinObject5K, FSS-1000, DUTS, ECSSD, MSRA-10K).
* a folder with ``images/`` and ``masks/`` (or ``im/`` and ``gt/``), or with image.jpg and image.png side
  by side: one object per mask file.
* a COCO instances JSON and its image folder: every annotation is an object.

Masks of a folder hold 0 and 255. Masks of 0 and 1 are refused, because they would silently train an
empty object (a trap of the reference's data).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError, InputError

__all__ = [
    "HQSEG44K_TRAIN",
    "HQSEG44K_VALID",
    "MaskedImage",
    "coco_instances",
    "hqseg44k",
    "image_folder",
]

HQSEG44K_TRAIN = (
    ("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt"),
    ("thin_object_detection/ThinObject5K/images_train", "thin_object_detection/ThinObject5K/masks_train"),
    ("cascade_psp/fss_all", "cascade_psp/fss_all"),
    ("cascade_psp/DUTS-TR", "cascade_psp/DUTS-TR"),
    ("cascade_psp/DUTS-TE", "cascade_psp/DUTS-TE"),
    ("cascade_psp/ecssd", "cascade_psp/ecssd"),
    ("cascade_psp/MSRA_10K", "cascade_psp/MSRA_10K"),
)
"""(images, masks) of each training part below HQSeg-44K's folder."""

HQSEG44K_VALID = (
    ("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt"),
    ("thin_object_detection/COIFT/images", "thin_object_detection/COIFT/masks"),
    ("thin_object_detection/HRSOD/images", "thin_object_detection/HRSOD/masks_max255"),
    ("thin_object_detection/ThinObject5K/images_test", "thin_object_detection/ThinObject5K/masks_test"),
)
"""Likewise of the four validation sets."""

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """One image and where its masks are; nothing is read before it is asked for."""

    path: Path
    """The image file."""
    mask_path: Path | None = None
    """A file with one object, 0 and 255."""
    annotations: tuple[Any, ...] = field(default=(), repr=False)
    """COCO annotations (segmentation and, for polygons, the image's size)."""

    def image(self) -> NDArray[np.uint8]:
        """RGB uint8 (H, W, 3)."""
        from PIL import Image

        try:
            with Image.open(self.path) as opened:
                return np.asarray(opened.convert("RGB"), np.uint8)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read as an image ({error})") from error

    def masks(self) -> list[NDArray[np.bool_]]:
        """One bool (H, W) per object that has any pixel."""
        if self.mask_path is not None:
            found = [_read_mask(self.mask_path)]
        else:
            found = [_decode(annotation, self.path) for annotation in self.annotations]
        return [mask for mask in found if mask.any()]


def hqseg44k(root: str | Path, *, valid: bool = False) -> dict[str, list[MaskedImage]]:
    """The parts of HQSeg-44K that are below ``root``, by the name of their image folder.

    Raises InputError when none is there; parts may be missing.
    """
    parts = {}
    for images, masks in HQSEG44K_VALID if valid else HQSEG44K_TRAIN:
        if (Path(root) / images).is_dir():
            parts[images] = _pair(Path(root) / images, Path(root) / masks)
    if not parts:
        wanted = ", ".join(images for images, _ in HQSEG44K_TRAIN[:3])
        raise InputError(f"{root}: holds no part of HQSeg-44K; expected folders such as {wanted}")
    return parts


def image_folder(folder: str | Path) -> list[MaskedImage]:
    """Images with one mask file each: ``images`` and ``masks``, ``im`` and ``gt``, or side by side."""
    root = Path(folder)
    for images, masks in (("images", "masks"), ("im", "gt")):
        if (root / images).is_dir() and (root / masks).is_dir():
            return _pair(root / images, root / masks)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one with images/ and masks/ inside")
    return _pair(root, root)


def coco_instances(
    annotations: str | Path, images: str | Path, *, min_area: float = 40.0**2
) -> list[MaskedImage]:
    """Images of a COCO instances file that have at least one object of ``min_area`` pixels; no crowds."""
    from vis.files import read_json

    content = read_json(annotations)
    try:
        records = {int(image["id"]): image for image in content["images"]}
        groups: dict[int, list[Any]] = {}
        for item in content["annotations"]:
            if item.get("iscrowd", 0) or float(item.get("area", 0)) < min_area:
                continue
            record = records[int(item["image_id"])]
            size = (int(record["height"]), int(record["width"]))
            groups.setdefault(int(item["image_id"]), []).append((item["segmentation"], size))
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{annotations}: is no COCO instances file ({error!r} is missing)") from error
    root = Path(images)
    return [
        MaskedImage(root / str(records[key]["file_name"]), annotations=tuple(items))
        for key, items in sorted(groups.items())
    ]


def _pair(images: Path, masks: Path) -> list[MaskedImage]:
    """Every image with the mask of the same stem; images without one are left out."""
    same = images == masks
    by_stem = {p.stem: p for p in sorted(masks.glob("*")) if p.suffix.lower() == ".png"}
    if not by_stem:
        raise InputError(f"{masks}: holds no mask files (*.png)")
    found = [
        MaskedImage(path, by_stem[path.stem])
        for path in sorted(images.glob("*"))
        if path.suffix.lower() in _IMAGES and path.stem in by_stem and not (same and path.suffix == ".png")
    ]
    if not found:
        raise InputError(f"{images}: no image has a mask of the same name in {masks}")
    return found


def _read_mask(path: Path) -> NDArray[np.bool_]:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            grey = np.asarray(opened.convert("L"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a mask ({error})") from error
    if grey.max(initial=0) == 1:
        raise InputError(f"{path}: holds 0 and 1; expected 0 and 255. Multiply the masks by 255")
    return np.asarray(grey > 127)


def _decode(annotation: tuple[Any, tuple[int, int]], where: Path) -> NDArray[np.bool_]:
    from vis import masks

    segmentation, size = annotation
    return masks.decode(masks.from_coco(segmentation, size, where=str(where)))

"""Run-length masks: encode, decode, area, overlap, boundary band, and the gate for foreign ones.

A mask is stored as COCO does: pixels column by column, as lengths of runs that alternate between 0
and 1 (the first run is of 0 and may be empty), written in COCO's compressed text. Everything here
is vectorised numpy and gives pycocotools' bytes and numbers; unlike it, nothing that comes in through
:func:`from_coco` can crash, hang or read memory that nobody wrote.

Knows no file and no network. Dense masks are bool ``(H, W)``; sizes are ``(height, width)``.

``codec`` holds both forms and the text, ``measures`` works on run lengths, ``band`` on dense masks, and
``gate`` lets foreign masks in.
"""

from vis.masks.band import boundary, boundary_width, dense_boundary_iou, dense_iou, erode
from vis.masks.codec import (
    blank,
    decode,
    decode_crop,
    decode_many,
    encode,
    encode_many,
    extent,
    from_runs,
    runs,
    unpack_text,
)
from vis.masks.gate import MAX_OUTLINE, MAX_PIXELS, MAX_SIDE, checked_size, from_coco, to_coco
from vis.masks.measures import area, bounding_box, intersection, iou, union

__all__ = [
    "MAX_OUTLINE",
    "MAX_PIXELS",
    "MAX_SIDE",
    "area",
    "blank",
    "boundary",
    "boundary_width",
    "bounding_box",
    "checked_size",
    "decode",
    "decode_crop",
    "decode_many",
    "dense_boundary_iou",
    "dense_iou",
    "encode",
    "encode_many",
    "erode",
    "extent",
    "from_coco",
    "from_runs",
    "intersection",
    "iou",
    "runs",
    "to_coco",
    "union",
    "unpack_text",
]

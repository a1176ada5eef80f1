#!/usr/bin/env python3
# ruff: noqa: B905, RUF046
# The random stream is frozen: changing a call here changes every stored expectation.
"""Write a synthetic YouTube-VIS data set: ``gt.json`` and ``pred.json``.

The set exercises what a tube evaluator has to get right:

* ground truth as uncompressed RLE, compressed RLE and polygons;
* objects that enter late, leave early, are hidden for a while or drift out of
  the image (``null`` frames, masks cut by the image border);
* blobs, boxes, thin shapes, rings, two-part shapes and shapes behind a bar;
* tube sizes below 128**2, between 128**2 and 256**2 and above 256**2 pixels;
* ``iscrowd=1`` tubes, categories without ground truth, categories that hold
  crowd tubes only, categories without predictions;
* predictions that are good, good in area but poor at the boundary, shifted,
  partial in time, of the wrong class, duplicated, or false; absent prediction
  frames are ``null`` or an empty mask;
* one video in seven carries more than 100 predictions.

All scores of a set differ, so no result depends on how ties are ordered.

The random stream is numpy's frozen ``RandomState`` and every video has its own
stream, so video ``i`` of a seed does not depend on ``--videos``. Masks are
rasterised by pycocotools from coordinates rounded to 0.1 pixel.

Needs numpy and pycocotools. Example::

    python make_synthetic_ytvis.py --seed 0 --out seed0
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_api

CATEGORIES = (
    "person",
    "dog",
    "cat",
    "car",
    "bird",
    "horse",
    "boat",
    "fish",
    "ape",
    "kite",
    "truck",
    "snake",
    "cow",
    "fox",
)
CROWD_ONLY_CATEGORY = 12  # ground truth of this category is always a crowd
NO_PREDICTION_CATEGORY = 13  # nothing is ever predicted as this category
NO_GT_CATEGORY = 14  # predicted, but never in the ground truth
SHAPES = ("blob", "blob", "blob", "box", "thin", "ring", "pair", "barred")


class Shape:
    """An outline that moves, turns and breathes over time."""

    def __init__(self, rng, height, width, frames):
        self.height, self.width = height, width
        side = min(height, width)
        self.kind = SHAPES[rng.randint(len(SHAPES))]
        low, high = np.log(0.025 * side), np.log(0.36 * side)
        self.radius = float(np.exp(rng.uniform(low, high)))
        self.amplitude = rng.normal(0.0, 0.06, 6)
        self.phase = rng.uniform(0.0, 2.0 * np.pi, 6)
        self.flatten = rng.uniform(0.6, 1.0)
        self.spin = rng.normal(0.0, 0.03)
        self.start = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height])
        speed = 0.15 * side / max(frames, 1)
        if rng.rand() < 0.15:  # this one leaves the image
            speed *= 6.0
        self.velocity = rng.normal(0.0, 1.0, 2) * speed
        self.bar = rng.uniform(-0.4, 0.4)

    def _outline(self, t, scale, shift, jitter, spread=(0.0, 0.0)):
        """Polygon of 96 points around the centre at time ``t``."""
        angle = np.linspace(0.0, 2.0 * np.pi, 96, endpoint=False)
        radius = np.ones_like(angle)
        for order, (amp, phase) in enumerate(zip(self.amplitude, self.phase), start=2):
            radius += amp * np.cos(order * angle + phase + 0.03 * t)
        radius *= self.radius * scale
        if jitter is not None:
            radius = radius + jitter
        radius = np.maximum(radius, 1.5)
        x = radius * np.cos(angle)
        y = radius * self.flatten * np.sin(angle)
        if self.kind == "thin":
            y = y * 0.25
        turn = self.spin * t
        centre = self.start + self.velocity * t + shift
        points = np.stack(
            [
                centre[0] + spread[0] + x * np.cos(turn) - y * np.sin(turn),
                centre[1] + spread[1] + x * np.sin(turn) + y * np.cos(turn),
            ],
            axis=1,
        )
        return np.round(points, 1)

    def _box(self, t, scale, shift):
        centre = self.start + self.velocity * t + shift
        half = np.array([self.radius, self.radius * self.flatten]) * scale
        (x0, y0), (x1, y1) = np.round(centre - half), np.round(centre + half)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    def polygons(self, t, scale=1.0, shift=(0.0, 0.0), jitter=None):
        """The parts of the shape as polygons (holes and bars not applied)."""
        shift = np.asarray(shift, dtype=float)
        if self.kind == "box":
            return [self._box(t, scale, shift)]
        if self.kind == "pair":
            offset = 0.9 * self.radius
            return [
                self._outline(t, 0.6 * scale, shift, jitter, (-offset, 0.0)),
                self._outline(t, 0.6 * scale, shift, jitter, (offset, 0.0)),
            ]
        return [self._outline(t, scale, shift, jitter)]

    def mask(self, t, scale=1.0, shift=(0.0, 0.0), jitter=None):
        """Compressed RLE of the shape at time ``t``; ``None`` if out of view."""
        parts = [polygon_rle(p, self.height, self.width) for p in self.polygons(t, scale, shift, jitter)]
        rle = parts[0] if len(parts) == 1 else rle_api.merge(parts)
        if self.kind in ("ring", "barred"):
            image = rle_api.decode(rle)
            if self.kind == "ring":
                hole = self._outline(t, 0.45 * scale, np.asarray(shift, dtype=float), None)
                image &= 1 - rle_api.decode(polygon_rle(hole, self.height, self.width))
            else:
                middle = self.start[0] + self.velocity[0] * t + self.bar * self.radius
                half = max(2.0, 0.12 * self.radius)
                left, right = int(round(middle - half)), int(round(middle + half))
                image[:, max(left, 0) : max(right, 0)] = 0
            rle = rle_api.encode(np.asfortranarray(image))
        return rle if rle_api.area(rle) else None


def polygon_rle(points, height, width):
    return rle_api.frPyObjects([points.reshape(-1).tolist()], height, width)[0]


def as_text(rle):
    """Compressed RLE with the counts as text, ready for JSON."""
    counts = rle["counts"]
    return {
        "size": [int(v) for v in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def as_counts(rle):
    """Uncompressed RLE: run lengths down the columns, background first."""
    flat = rle_api.decode(rle).reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat[0]:
        runs.insert(0, 0)
    return {"size": [int(v) for v in rle["size"]], "counts": runs}


def visible_frames(rng, frames):
    """Which frames show the object: late entry, early exit, a hidden stretch."""
    seen = np.ones(frames, dtype=bool)
    if rng.rand() < 0.30:
        seen[: rng.randint(0, frames // 3 + 1)] = False
    if rng.rand() < 0.20:
        seen[frames - rng.randint(0, frames // 3 + 1) :] = False
    if rng.rand() < 0.20 and frames >= 6:
        start = rng.randint(frames // 4, 3 * frames // 4)
        seen[start : start + rng.randint(1, frames // 4 + 1)] = False
    if not seen.any():
        seen[frames // 2] = True
    return seen


def smooth_noise(rng, size, spread, points=96):
    """Periodic noise with standard deviation ``size`` over the outline."""
    noise = np.fft.rfft(rng.normal(0.0, 1.0, points))
    noise *= np.exp(-0.5 * (np.arange(noise.size) / spread) ** 2)
    noise = np.fft.irfft(noise, points)
    return size * noise / max(float(noise.std()), 1e-9)


def make_gt_tube(rng, height, width, frames):
    """(shape, per-frame compressed RLE or None); never an all-``None`` tube."""
    while True:
        shape = Shape(rng, height, width, frames)
        seen = visible_frames(rng, frames)
        masks = [shape.mask(t) if seen[t] else None for t in range(frames)]
        if any(m is not None for m in masks):
            return shape, masks


def gt_annotation(rng, shape, masks):
    """Segmentations, boxes and areas of a ground-truth tube in one encoding."""
    draw = rng.rand()
    plain = shape.kind in ("blob", "box", "thin", "pair")
    segmentations, boxes, areas = [], [], []
    for t, rle in enumerate(masks):
        if rle is None:
            segmentations.append(None)
            boxes.append(None)
            areas.append(None)
            continue
        if draw < 0.10 and plain:
            segmentations.append([p.reshape(-1).tolist() for p in shape.polygons(t)])
        elif draw < 0.70:
            segmentations.append(as_counts(rle))
        else:
            segmentations.append(as_text(rle))
        boxes.append([float(v) for v in rle_api.toBbox(rle)])
        areas.append(int(rle_api.area(rle)))
    return {"segmentations": segmentations, "bboxes": boxes, "areas": areas}


def predict(rng, shape, masks, quality):
    """A prediction of one ground-truth tube; ``quality`` names its defect."""
    radius = shape.radius
    frames = len(masks)
    keep = np.ones(frames, dtype=bool)
    if quality == "partial":
        length = max(1, int(round(frames * rng.uniform(0.35, 0.8))))
        start = rng.randint(0, frames - length + 1)
        keep[:] = False
        keep[start : start + length] = True
    empty_mask = rng.rand() < 0.3  # absent frames as empty masks, not null
    shift, size, scale = np.zeros(2), 0.01, 1.0
    if quality == "rough":
        size = rng.uniform(0.05, 0.12)
    elif quality == "scaled":
        scale = rng.uniform(0.85, 1.15)
    elif quality == "shifted":
        shift = rng.normal(0.0, 0.18, 2) * radius
    out = []
    for t, rle in enumerate(masks):
        present = rle is not None and keep[t]
        if quality != "partial" and rng.rand() < 0.02:
            present = not present  # a missed frame, or a mask where none is
        mask = None
        if present:
            step = shift + rng.normal(0.0, 0.01, 2) * radius
            jitter = smooth_noise(rng, size * radius, 10.0)
            mask = shape.mask(t, scale, step, jitter)
        if mask is None and empty_mask:
            mask = rle_api.encode(np.zeros((shape.height, shape.width), np.uint8, order="F"))
        out.append(None if mask is None else as_text(mask))
    return out


def other_category(rng, category):
    """A predicted class: ``category`` most of the time, else another one."""
    choice = category
    if rng.rand() < 0.12:
        choice = rng.randint(1, len(CATEGORIES) + 1)
    return NO_GT_CATEGORY if choice == NO_PREDICTION_CATEGORY else int(choice)


def make_video(seed, video_id, height, width, frames):
    rng = np.random.RandomState((seed * 1000003 + video_id * 7919) % (2**32))
    tubes, predictions = [], []
    base = {"good": 0.80, "scaled": 0.65, "rough": 0.60, "shifted": 0.50, "partial": 0.45}

    def add(category, score, segmentations):
        predictions.append(
            {
                "video_id": video_id,
                "category_id": category,
                "score": float(min(max(score, 0.01), 0.99)),
                "segmentations": segmentations,
            }
        )

    for _ in range(rng.randint(2, 9)):
        shape, masks = make_gt_tube(rng, height, width, frames)
        category = int(rng.randint(1, NO_GT_CATEGORY))
        crowd = int(category == CROWD_ONLY_CATEGORY or rng.rand() < 0.05)
        tube = gt_annotation(rng, shape, masks)
        tube.update(
            video_id=video_id,
            category_id=category,
            iscrowd=crowd,
            height=height,
            width=width,
            length=frames,
        )
        tubes.append(tube)
        for _ in range((1, 1, 1, 2, 2, 0, 3)[rng.randint(7)]):
            quality = ("good", "good", "scaled", "rough", "shifted", "partial")[rng.randint(6)]
            score = base[quality] + rng.normal(0.0, 0.15)
            add(other_category(rng, category), score, predict(rng, shape, masks, quality))

    false_tubes = rng.randint(0, 5)
    length = frames
    if video_id % 7 == 3:  # more than 100 predictions in this video
        false_tubes, length = 105, 3
    for _ in range(false_tubes):
        shape = Shape(rng, height, width, frames)
        first = rng.randint(0, max(frames - length, 0) + 1)
        segmentations = [None] * frames
        for t in range(first, min(first + length, frames)):
            mask = shape.mask(t)
            segmentations[t] = None if mask is None else as_text(mask)
        add(
            other_category(rng, int(rng.randint(1, NO_PREDICTION_CATEGORY))),
            rng.beta(2.0, 3.0),
            segmentations,
        )
    order = rng.permutation(len(predictions))
    return tubes, [predictions[i] for i in order]


def distinct_scores(predictions):
    """Round scores to 6 digits and move equal ones apart."""
    taken = set()
    for item in predictions:
        millionths = int(round(item["score"] * 1_000_000))
        while millionths in taken:
            millionths += 1
        taken.add(millionths)
        item["score"] = millionths / 1_000_000


def make_set(seed, videos, sizes, length_range):
    low, high = length_range
    data = {
        "info": {"description": f"synthetic tubes, seed {seed}"},
        "licenses": [],
        "videos": [],
        "categories": [
            {"id": i, "name": name, "supercategory": "object"} for i, name in enumerate(CATEGORIES, start=1)
        ],
        "annotations": [],
    }
    results = []
    for video_id in range(1, videos + 1):
        width, height = sizes[(video_id - 1) % len(sizes)]
        rng = np.random.RandomState((seed * 1000003 + video_id * 104729 + 1) % (2**32))
        frames = int(rng.randint(low, high + 1))
        data["videos"].append(
            {
                "id": video_id,
                "width": width,
                "height": height,
                "length": frames,
                "file_names": [f"{video_id:04d}/{t:05d}.jpg" for t in range(frames)],
            }
        )
        tubes, predictions = make_video(seed, video_id, height, width, frames)
        for tube in tubes:
            data["annotations"].append({"id": len(data["annotations"]) + 1, **tube})
        results.extend(predictions)
    distinct_scores(results)
    return data, results


def write_json(path, value):
    text = json.dumps(value, separators=(",", ":"))
    path.write_text(text, encoding="ascii")
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_sizes(text):
    return [tuple(int(v) for v in part.lower().split("x")) for part in text.split(",")]


def parse_range(text):
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--frames", type=parse_range, default=(30, 30), help="N or LOW-HIGH frames a video")
    parser.add_argument("--sizes", type=parse_sizes, default=[(1280, 720)], help="WxH[,WxH...], used in turn")
    parser.add_argument("--out", type=Path, required=True, help="folder for gt.json and pred.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data, results = make_set(args.seed, args.videos, args.sizes, args.frames)
    print("gt.json  ", write_json(args.out / "gt.json", data), len(data["annotations"]), "tubes")
    print("pred.json", write_json(args.out / "pred.json", results), len(results), "tubes")


if __name__ == "__main__":
    main()

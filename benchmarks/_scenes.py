"""Hard scenes with exact identities: real cut-outs pasted over real clips, seen by a faulty detector.

The cut-outs are the seven single-object clips of DAVIS 2016, played to and fro; the backgrounds are
other real clips. Where each object is, is a script; so identity, visible mask and box are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from trackers.appearance import colours
from vis.structures import Detections

WIDTH, HEIGHT, FPS = 640, 360, 30
MARGIN = 40
"""The world is larger than the picture by this on each side, for the camera to shake in."""
CLIPS = ("camel", "car-roundabout", "cows", "dance-twirl", "dog", "libby", "parkour")


@dataclass(frozen=True)
class Scene:
    """What happens in a scene, besides objects crossing one another all the time."""

    name: str
    background: str
    """A clip of DAVIS, or a file in ``videos``."""
    objects: int = 8
    frames: int = 300
    reach: float = 0.42
    """How far objects swing from the middle, in picture widths: above 0.5 they leave and return."""
    pillars: int = 0
    """Upright strips of background that objects pass behind."""
    shake: float = 0.0
    """Size of the camera's jolts in pixels."""
    seed: int = 0


SCENES = (
    Scene("crossings", "vtest.avi", seed=1),
    Scene("pillars", "horsejump-high", pillars=3, seed=2),
    Scene("leaving", "scooter-black", reach=0.75, seed=3),
    Scene("shake", "vtest.avi", shake=30, seed=4),
    Scene("everything", "vtest.avi", objects=10, reach=0.65, pillars=2, shake=20, seed=5),
)


@dataclass(frozen=True)
class Seen:
    """One frame of a scene."""

    image: np.ndarray
    truth: Detections
    """Visible objects; ``track_ids`` are exact."""
    detections: Detections
    """What the faulty detector gives, with colour embeddings."""


def play(scene: Scene, data: Path) -> Iterator[Seen]:
    """The frames of a scene."""
    rng = np.random.default_rng(scene.seed)
    actors = [_Actor.cast(k, scene, rng, data) for k in range(scene.objects)]
    camera = _shake(scene, rng)
    pillars = _pillars(scene, rng)
    backgrounds = _background(scene.background, data)
    for t in range(scene.frames):
        world = backgrounds[_to_and_fro(t, len(backgrounds))].copy()
        owner = np.zeros(world.shape[:2], np.int16)
        whole = np.zeros(scene.objects + 1, int)
        for k, actor in enumerate(actors):  # later ones stand in front
            whole[k + 1] = actor.paste(world, owner, k + 1, t)
        behind = pillars & (owner > 0)
        world[behind] = backgrounds[_to_and_fro(t, len(backgrounds))][behind]
        owner[behind] = 0
        x, y = camera[t]
        image = np.ascontiguousarray(world[y : y + HEIGHT, x : x + WIDTH])
        truth, visible = _truth(owner[y : y + HEIGHT, x : x + WIDTH], whole)
        yield Seen(image, truth, _detect(truth, visible, image, rng))


@dataclass(frozen=True)
class _Actor:
    """A cut-out and its path."""

    pictures: list[np.ndarray]
    masks: list[np.ndarray]
    middle: tuple[float, float]
    swing: tuple[float, float]
    turns: tuple[float, float]
    phases: tuple[float, float]

    @classmethod
    def cast(cls, k: int, scene: Scene, rng: np.random.Generator, data: Path) -> _Actor:
        height = int(rng.uniform(70, 130))
        pictures, masks = _cut_out(CLIPS[k % len(CLIPS)], height, data)
        seconds = scene.frames / FPS
        return cls(
            pictures,
            masks,
            (rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.65)),
            (scene.reach * rng.uniform(0.8, 1.0), rng.uniform(0.05, 0.25)),
            (rng.uniform(0.8, 1.6) * seconds / 10, rng.uniform(0.5, 2) * seconds / 10),
            (rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)),
        )

    def paste(self, world: np.ndarray, owner: np.ndarray, number: int, t: int) -> int:
        """Draw itself; gives the number of its pixels, hidden or not."""
        frame = _to_and_fro(t, len(self.pictures))
        picture, mask = self.pictures[frame], self.masks[frame]
        share = t / FPS / 10
        x, y = (
            self.middle[a] + self.swing[a] * np.sin(2 * np.pi * self.turns[a] * share + self.phases[a])
            for a in (0, 1)
        )
        left = round(MARGIN + x * WIDTH - mask.shape[1] / 2)
        top = round(MARGIN + y * HEIGHT - mask.shape[0] / 2)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + mask.shape[1], world.shape[1]), min(top + mask.shape[0], world.shape[0])
        if x0 < x1 and y0 < y1:
            inside = mask[y0 - top : y1 - top, x0 - left : x1 - left]
            world[y0:y1, x0:x1][inside] = picture[y0 - top : y1 - top, x0 - left : x1 - left][inside]
            owner[y0:y1, x0:x1][inside] = number
        return int(mask.sum())


@lru_cache(maxsize=32)
def _cut_out(clip: str, height: int, data: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures and masks of a clip's object, scaled so that its median height is ``height``."""
    root = data / "davis16"
    names = sorted(path.stem for path in (root / "Annotations" / "480p" / clip).glob("*.png"))
    crops = []
    for name in names:
        mask = cv2.imread(str(root / "Annotations" / "480p" / clip / f"{name}.png"), 0) > 127
        ys, xs = np.nonzero(mask)
        if len(ys):
            image = cv2.imread(str(root / "JPEGImages" / "480p" / clip / f"{name}.jpg"))[..., ::-1]
            box = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
            crops.append((np.ascontiguousarray(image[box]), mask[box]))
    scale = height / np.median([mask.shape[0] for _, mask in crops])
    pictures, masks = [], []
    for image, mask in crops:
        size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
        pictures.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0)
    return pictures, masks


@lru_cache(maxsize=4)
def _background(name: str, data: Path) -> list[np.ndarray]:
    size = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
    frames = []
    if "." in name:
        video = cv2.VideoCapture(str(data / "videos" / name))
        while len(frames) < 150:
            more, image = video.read()
            if not more:
                break
            frames.append(cv2.resize(image[..., ::-1], size, interpolation=cv2.INTER_AREA))
    else:
        for path in sorted((data / "davis16" / "JPEGImages" / "480p" / name).glob("*.jpg")):
            frames.append(cv2.resize(cv2.imread(str(path))[..., ::-1], size, interpolation=cv2.INTER_AREA))
    return frames


def _to_and_fro(t: int, length: int) -> int:
    period = max(2 * length - 2, 1)
    return min(t % period, period - t % period)


def _shake(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Upper left corner of the picture in the world, (T, 2) whole pixels."""
    offset = np.zeros((scene.frames, 2))
    if scene.shake:
        offset += rng.normal(0, scene.shake / 10, offset.shape)
        for start in range(15, scene.frames, 25):
            jolt = rng.normal(0, 1, 2)
            jolt *= scene.shake / np.hypot(*jolt)
            length = min(12, scene.frames - start)
            offset[start : start + length] += jolt * np.exp(-np.arange(length) / 4)[:, None]
    return np.clip(np.rint(offset), -MARGIN, MARGIN).astype(int) + MARGIN


def _pillars(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    pillars = np.zeros((HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN), bool)
    for k in range(scene.pillars):
        left = int(MARGIN + WIDTH * (k + 0.5) / scene.pillars + rng.uniform(-30, 30))
        pillars[:, left : left + int(rng.uniform(50, 90))] = True
    return pillars


def _truth(owner: np.ndarray, whole: np.ndarray) -> tuple[Detections, np.ndarray]:
    """The objects of which at least a tenth and 60 pixels show, and how much of each shows."""
    area = np.bincount(owner.ravel(), minlength=len(whole))
    share = area / np.maximum(whole, 1)
    ids = np.flatnonzero((share >= 0.1) & (area >= 60) & (np.arange(len(whole)) > 0))
    masks = owner[None] == ids[:, None, None]
    labels = np.array([(n - 1) % len(CLIPS) for n in ids], np.int64)
    truth = Detections(boxes_of(masks), np.ones(len(ids), np.float32), labels, masks, ids.astype(np.int64))
    return truth, share[ids]


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Tight boxes of masks that are not empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box[:] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes


def _detect(
    truth: Detections, visible: np.ndarray, image: np.ndarray, rng: np.random.Generator
) -> Detections:
    """Misses the more the less shows, jitters boxes, moves masks along, sees things that are not there."""
    n = len(truth)
    found = np.flatnonzero(rng.random(n) < 0.96 - 0.6 * (1 - visible))
    size = np.tile(truth.boxes[:, 2:] - truth.boxes[:, :2], 2)
    boxes = (truth.boxes + rng.normal(0, 0.03, (n, 4)) * size)[found].astype(np.float32)
    assert truth.masks is not None
    masks = np.zeros((len(found), HEIGHT, WIDTH), bool)
    for mask, row in zip(masks, found, strict=True):
        mask[:] = np.roll(truth.masks[row], rng.integers(-2, 3, 2), (0, 1))
    scores = np.clip(0.55 + 0.4 * visible[found] + rng.normal(0, 0.08, len(found)), 0.05, 1)

    ghosts = int(rng.poisson(0.5))
    start = rng.uniform([0, 0], [WIDTH - 80, HEIGHT - 100], (ghosts, 2))
    ghost_boxes = np.concatenate([start, start + rng.uniform(30, 80, (ghosts, 2))], 1).astype(np.float32)
    ghost_masks = np.zeros((ghosts, HEIGHT, WIDTH), bool)
    for mask, (x0, y0, x1, y1) in zip(ghost_masks, ghost_boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    boxes, masks = np.concatenate([boxes, ghost_boxes]), np.concatenate([masks, ghost_masks])
    scores = np.concatenate([scores, rng.uniform(0.1, 0.75, ghosts)]).astype(np.float32)
    labels = np.concatenate([truth.labels[found], rng.integers(0, len(CLIPS), ghosts)])
    wrong = rng.random(len(labels)) < 0.1
    labels[wrong] = rng.integers(0, len(CLIPS), int(wrong.sum()))
    rows = rng.permutation(len(boxes))
    embeddings = colours(image, boxes, masks)
    return Detections(boxes, scores, labels, masks, None, embeddings).select(rows)

"""What does everything around the networks cost? CPU milliseconds per 1080p frame with ten objects, stage by stage.

    python -m benchmarks.stages [--json] [--frames 128] [--rounds 3] [--objects 10] [--clip FILE] [--seed 0]

CPU time is that of the whole process, threads of decoder and encoder included. Each stage is measured alone; then
those that ``vistubes run`` always has, together: decode, track, run lengths, collect, results written; decode again,
masks from run lengths, draw, contact sheet, encode. A detector and a refiner that hand out stored masks stand for the
networks. The masks are made from a seed: moving shapes of smooth edge, of 3 % of the frame on the mean, with the
outline of real objects (2.5 times that of a circle of their area; DAVIS clips of one object have 1.5 to 3.7). The clip
(default: the sample) is scaled to 1080p. Of ``--rounds`` the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from apps import rendering, report
from trackers.bytetrack import ByteTracker
from vis import masks as rle
from vis import pipeline, weights
from vis.follow.grid import Grid
from vis.follow.keyframes import SIDE, keyframe_groups
from vis.mask_cleaning import cleaned, resolve_overlaps
from vis.render import Renderer
from vis.structures import Detections, Frame, TrackedFrame
from vis.video import VideoReader, VideoWriter, open_source

SIZE = (1080, 1920)
MOMENTS = 16
"""Different frames of masks, played to and fro: dense masks of a frame are 20 MB."""
MARK = 75.0
"""CPU milliseconds a frame, all stages together: five cores keep up with 60 frames/s."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--clip", type=Path, help="video to scale to 1080p (default: the sample clip)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    scene = moving_shapes(args.objects, args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        write_clip(args.clip or weights.path("sample"), clip, args.frames)
        frames = Stored(VideoReader(clip), scene)
        ways = stages(clip, frames, folder)
        best: dict[str, float] = dict.fromkeys(ways, float("inf"))
        for turn in range(args.rounds):
            print(f"round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
            for stage, way in ways.items():
                best[stage] = min(best[stage], way() / args.frames)
    milliseconds = {stage: round(1000 * seconds, 2) for stage, seconds in best.items()}
    figures = {
        "frame": f"{SIZE[1]}x{SIZE[0]}",
        "objects": args.objects,
        "frames": args.frames,
        "mask_area": round(float(np.mean([found.masks.mean() for found in scene])), 4),
        "outline": round(outline_of(scene), 2),
        "cpu_ms_per_frame": milliseconds,
        "mark": MARK,
        "holds": milliseconds["together"] <= MARK,
    }
    if args.json:
        print(json.dumps(figures))
        return 0
    print(f"{'CPU milliseconds a frame':<44} {figures['frame']}, {args.objects} objects")
    for stage, spent in milliseconds.items():
        print(f"{stage:<44} {spent:>8.2f}")
    print(f"{'mark':<44} {MARK:>8.2f}")
    return 0


def stages(clip: Path, frames: Stored, folder: Path) -> dict[str, Callable[[], float]]:
    """Stage -> what does it for all frames of the clip, and returns the CPU seconds that it took."""
    images = [frame.image for frame in VideoReader(clip, end_frame=MOMENTS)]
    count = len(frames)
    info = VideoReader(clip).info
    boxes_only = [replace(found, masks=None) for found in frames.scene]
    blank = np.broadcast_to(np.zeros((), np.uint8), (*SIZE, 3))
    renderer = Renderer(frames.class_names)

    def decode() -> float:
        return spent(VideoReader(clip))

    def track() -> float:
        tracker = ByteTracker()
        return spent(tracker.update(boxes_only[moment(n)], n / 30) for n in range(count))

    def run_lengths() -> float:
        return spent(rle.encode_many(frames.scene[moment(n)].masks) for n in range(count))

    def collect() -> float:
        collector = pipeline.TubeCollector(info, frames.class_names)
        return spent(
            collector.add(TrackedFrame(Frame(n, n / 30, blank), boxes_only[moment(n)])) for n in range(count)
        )

    def masks() -> float:
        stored = [rle.encode_many(found.masks) for found in frames.scene]
        return spent(rle.decode_many(stored[moment(n)], SIZE) for n in range(count))

    def draw() -> float:
        return spent(renderer.draw(images[n % len(images)], frames.scene[moment(n)]) for n in range(count))

    drawn = [renderer.draw(image, frames.scene[moment(n)]) for n, image in enumerate(images)]

    def encode() -> float:
        start = time.process_time()
        with VideoWriter(folder / "encoded.mp4", SIZE, 30) as writer:
            for n in range(count):
                writer.write(drawn[moment(n) % len(drawn)])
        return time.process_time() - start

    return {
        "decode (twice in a run)": decode,
        "track": track,
        **masks_of_quick(frames, images),
        "run lengths": run_lengths,
        "collect": collect,
        "masks from run lengths, to be drawn": masks,
        "draw": draw,
        "encode": encode,
        "together": lambda: together(clip, frames, folder),
    }


def masks_of_quick(frames: Stored, images: Sequence[Any]) -> dict[str, Callable[[], float]]:
    """What preset ``quick`` does to masks: on every frame at ``full``, and between key frames."""
    count = len(frames)
    grid = Grid(SIZE, SIDE)
    logits = [dict(enumerate(map(grid.logits_of, found.masks))) for found in frames.scene]

    def settle() -> float:
        def one(found: Detections, logits: dict[int, Any]) -> None:
            masks = np.stack([cleaned(mask) for mask in found.masks])
            resolve_overlaps(masks, logits, found.track_ids)

        return spent(one(frames.scene[moment(n)], logits[moment(n)]) for n in range(count))

    def carry() -> float:
        def look(frame: Frame) -> TrackedFrame:
            return TrackedFrame(frame, frames.scene[moment(frame.index)])

        video = [Frame(n, n / 30, images[n % len(images)]) for n in range(count)]
        # Motion is the video's and objects are not: nothing is to be surprised.
        return spent(keyframe_groups(video, look, interval=6, agreement=0.0, resolve=True, clean=True))

    return {
        "specks and overlaps, as quick has them": settle,
        "motion, masks carried between key frames": carry,
    }


def together(clip: Path, frames: Stored, folder: Path) -> float:
    """A whole run without networks: CPU seconds from the clip to results, overlay and contact sheet."""
    start = time.process_time()
    source = VideoReader(clip)
    tracked = pipeline.refine(pipeline.track(source, frames, ByteTracker()), frames)
    result = pipeline.collect(tracked, source.info, frames.class_names)
    report.write_results(folder, result)
    missing = rendering.draw(source, result, folder, audio_from=clip)
    seconds = time.process_time() - start
    assert not missing, missing
    assert len(result.frames) == len(frames), "a frame was lost"
    return seconds


class Stored:
    """Detector and refiner that hand out what is stored, in the order of the frames."""

    class_names = ("object",)

    def __init__(self, source: VideoReader, scene: Sequence[Detections]) -> None:
        self.scene = scene
        self._count = sum(1 for _ in source)
        self._next = 0

    def __len__(self) -> int:
        return self._count

    def detect_frames(self, frames: Sequence[Frame]) -> list[Detections]:
        return [replace(self.scene[moment(frame.index)], masks=None, track_ids=None) for frame in frames]

    def reset(self) -> None:
        self._next = 0

    def refine(self, _image: np.ndarray, detections: Detections) -> Detections:
        masks = self.scene[moment(self._next)].masks
        self._next += 1
        assert masks is not None
        return replace(detections, masks=masks)


def moment(frame: int) -> int:
    """Which of the stored moments a frame shows: to and fro, so that nothing jumps."""
    place = frame % (2 * MOMENTS - 2)
    return min(place, 2 * MOMENTS - 2 - place)


def moving_shapes(count: int, seed: int) -> list[Detections]:
    """Objects of wavy outline that move and change their shape, on each of the moments."""
    chance = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    area = chance.uniform(0.5, 1.5, count)
    radii = np.sqrt(0.03 * SIZE[0] * SIZE[1] * area / area.mean() / np.pi)
    waves, phases = np.arange(2, 16), chance.uniform(0, 2 * np.pi, (count, 14))
    speeds, strengths = chance.normal(0, 0.15, (count, 14)), chance.uniform(0.05, 0.15, (count, 14))
    places = chance.uniform((0.15, 0.2), (0.85, 0.8), (count, 2)) * SIZE[::-1]
    steps = chance.normal(0, 4, (count, 2))
    scene = []
    for time_ in range(MOMENTS):
        shapes, boxes = np.zeros((count, *SIZE), np.uint8), []
        for n in range(count):
            swing = strengths[n] * np.cos(waves * angle[:, None] + phases[n] + time_ * speeds[n])
            radius = np.exp(swing.sum(axis=1))
            radius *= radii[n] / np.sqrt((radius**2).mean())
            outline = (
                places[n] + time_ * steps[n] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
            )
            cv2.fillPoly(shapes[n], [np.rint(outline * 16).astype(np.int32)], 1, shift=4)
            x, y, across, down = cv2.boundingRect(shapes[n])
            boxes.append((x, y, x + across, y + down))
        scene.append(
            Detections(
                np.array(boxes, np.float32),
                np.full(count, 0.9, np.float32),
                np.zeros(count, np.int64),
                shapes.view(np.bool_),
                np.arange(1, count + 1),
            )
        )
    return scene


def outline_of(scene: Sequence[Detections]) -> float:
    """Mean length of the objects' outlines, in outlines of circles of their area."""
    ratios = []
    for mask in scene[0].masks if scene[0].masks is not None else ():
        found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        length = sum(cv2.arcLength(line, True) for line in found)
        ratios.append(length / np.sqrt(4 * np.pi * mask.sum()))
    return float(np.mean(ratios))


def write_clip(source: Path, target: Path, frames: int) -> None:
    """The first frames of a video, scaled to 1080p."""
    with VideoWriter(target, SIZE, 30) as writer:
        for frame in open_source(source, end_frame=frames):
            writer.write(
                np.asarray(cv2.resize(frame.image, SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
            )


def spent(work: Iterable[Any] | Iterator[Any]) -> float:
    """CPU seconds of the whole process until the work is done."""
    start = time.process_time()
    for _ in work:
        pass
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())

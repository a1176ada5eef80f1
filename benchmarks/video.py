"""How fast are reading, writing and drawing, beside plain PyAV and OpenCV on the same clip?

CPU time counts this process and its children: reading isolated is decoding in one.

    python -m benchmarks.video [--json] [--clip FILE] [--frames 100] [--rounds 5] [--objects 10]

All ways run in turn, round after round; the best round counts. Reading gives RGB arrays
of every frame. Writing is H.264 (OpenCV: its mp4v, which browsers do not play). Drawing is 10 objects with
masks on one frame of the clip.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vis import weights
from vis.render import Renderer
from vis.structures import Detections
from vis.video import AlphaVideoWriter, IsolatedReader, VideoReader, VideoWriter

Image = np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, help="video to read (default: the sample clip)")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    clip, frames = args.clip or weights.path("sample"), args.frames
    images = [frame.image for frame in VideoReader(clip, end_frame=frames)]
    found = blobs(args.objects, images[0].shape[:2])
    renderer = Renderer(["object"])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mp4"
        ways: dict[str, Callable[[], Any]] = {
            "read: VideoReader": lambda: exhaust(VideoReader(clip, end_frame=frames)),
            "read: VideoReader, no thread": lambda: exhaust(VideoReader(clip, end_frame=frames, ahead=0)),
            "read: IsolatedReader": lambda: read_isolated(clip, frames),
            "read: plain PyAV": lambda: read_pyav(clip, frames),
            "read: OpenCV": lambda: read_opencv(clip, frames),
            "write: VideoWriter": lambda: write_ours(target, images),
            "write: plain PyAV": lambda: write_pyav(target, images),
            "write: AlphaVideoWriter": lambda: write_alpha(target.with_suffix(".webm"), images),
            "write: OpenCV mp4v": lambda: write_opencv(target, images),
            "draw: Renderer": lambda: exhaust(renderer.draw(image, found) for image in images[:20]),
        }
        best = dict.fromkeys(ways, float("inf"))
        work = dict.fromkeys(ways, float("inf"))
        for turn in range(args.rounds):
            print(f"round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
            for name, way in ways.items():
                start, busy = time.perf_counter(), cpu_seconds()
                way()
                count = 20 if name.startswith("draw") else len(images)
                best[name] = min(best[name], (time.perf_counter() - start) / min(count, len(images)))
                work[name] = min(work[name], (cpu_seconds() - busy) / min(count, len(images)))
    report(best, work, images[0].shape[:2], as_json=args.json)
    return 0


def exhaust(frames: Any) -> None:
    for _ in frames:
        pass


def read_pyav(clip: Path, frames: int) -> None:
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in itertools.islice(container.decode(video=0), frames):
            frame.to_ndarray(format="rgb24")


def read_opencv(clip: Path, frames: int) -> None:
    video = cv2.VideoCapture(str(clip))
    for _ in range(frames):
        _, image = video.read()
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    video.release()


def read_isolated(clip: Path, frames: int) -> None:
    with IsolatedReader(clip, end_frame=frames) as reader:
        exhaust(reader)


def cpu_seconds() -> float:
    """Of this process and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def write_alpha(target: Path, images: list[Image]) -> None:
    height, width = images[0].shape[:2]
    y, x = np.mgrid[:height, :width]
    alpha = np.where((y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2, 255, 0).astype(
        np.uint8
    )
    with AlphaVideoWriter(target, (height, width), 30) as writer:
        for image in images:
            writer.write(np.dstack([image, alpha]))


def write_ours(target: Path, images: list[Image]) -> None:
    with VideoWriter(target, images[0].shape[:2], 30) as writer:
        for image in images:
            writer.write(image)


def write_pyav(target: Path, images: list[Image]) -> None:
    with av.open(str(target), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(30), options={"crf": "20", "preset": "veryfast"}
        )
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_opencv(target: Path, images: list[Image]) -> None:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 30, (width, height))
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()


def blobs(count: int, size: tuple[int, int]) -> Detections:
    """Objects of wavy outline, each about a twentieth of the frame."""
    chance = np.random.default_rng(0)
    height, width = size
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    masks = np.zeros((count, height, width), np.uint8)
    boxes = []
    for number, mask in enumerate(masks):
        wave = height / 6 * (1 + 0.2 * np.sin(5 * angle + number))
        center = chance.uniform((0.15 * width, 0.2 * height), (0.85 * width, 0.8 * height))
        outline = center + wave[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
        x, y, across, down = cv2.boundingRect(mask)
        boxes.append((x, y, x + across, y + down))
    return Detections(
        boxes=np.array(boxes, np.float32),
        scores=np.full(count, 0.9, np.float32),
        labels=np.zeros(count, np.int64),
        masks=masks.astype(bool),
        track_ids=np.arange(1, count + 1),
    )


def report(best: dict[str, float], work: dict[str, float], size: tuple[int, int], *, as_json: bool) -> None:
    if as_json:
        told = {
            name: {"ms_per_frame": round(best[name] * 1e3, 3), "cpu_ms": round(work[name] * 1e3, 3)}
            for name in best
        }
        print(json.dumps({"ways": told, "size": list(size)}))
        return
    print(f"{size[1]}x{size[0]}, best round; ms per frame\n")
    print(f"{'':<30} {'time':>8} {'fps':>7} {'CPU':>10}")
    for name, seconds in best.items():
        print(f"{name:<30} {seconds * 1e3:8.2f} {1 / seconds:7.0f} {work[name] * 1e3:10.2f}")


if __name__ == "__main__":
    raise SystemExit(main())

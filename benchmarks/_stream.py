"""A 1080p stream as a user has it: decode video, embed and decode masks, draw them, encode video.

Video is decoded and encoded in threads of its own, beside the network. Where PyAV is missing OpenCV does it, and where
neither can, frames come from memory: the report says which.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vis.hqsam import Predictor
from vis.render import Renderer
from vis.structures import Detections

Scene = tuple[np.ndarray, np.ndarray]
"""A frame, uint8 (H, W, 3), and float32 (N, 4) boxes on it."""


def stream_through(predictor: Predictor, scenes: list[Scene]) -> dict[str, Any]:
    """Frames/s of a whole pass over a clip made of the scenes, and the network's part of it."""
    made = [frame for frame, _ in scenes]
    height, width = made[0].shape[:2]
    predictor.decode(predictor.embed(made[0]), boxes=scenes[0][1])  # recorded and warm
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.mp4"
        how = write_clip(clip, made)
        start = time.perf_counter()
        sink = Sink(Path(folder) / "out.mp4", how, (height, width))
        network = pixels = 0.0
        done = 0
        for frame, (_, boxes) in zip(ahead(read_clip(clip, how, made)), scenes, strict=True):
            begun = time.perf_counter()
            masks = predictor.decode(predictor.embed(frame), boxes=boxes).masks
            network += time.perf_counter() - begun
            pixels += float(masks.mean())
            sink.put(frame, boxes, masks)
            done += 1
        sink.close()
        seconds = time.perf_counter() - start
    return {
        "network": predictor.describe(),
        "video": how or "no codec works here: frames from memory, drawn but not encoded",
        "frame": f"{width}x{height}",
        "frames": done,
        "frames_per_second": round(done / seconds, 2),
        "network_ms_per_frame": round(1000 * network / max(done, 1), 2),
        "share_of_pixels_in_a_mask": round(pixels / max(done, 1), 4),
    }


def write_clip(path: Path, frames: list[np.ndarray]) -> str | None:
    """Write H.264 with PyAV, or MPEG-4 with OpenCV; what wrote it, or None when neither can."""
    with suppress(ImportError):
        from vis.video import VideoWriter

        with VideoWriter(path, frames[0].shape[:2], 30) as writer:
            for frame in frames:
                writer.write(frame)
        return "PyAV, H.264"
    import cv2

    height, width = frames[0].shape[:2]
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (width, height))
    if not out.isOpened():
        return None
    for frame in frames:
        out.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    out.release()
    return "OpenCV, MPEG-4"


def read_clip(path: Path, how: str | None, frames: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The clip's frames again, by the way that wrote it; from memory when none could."""
    if how is None:
        yield from frames
    elif how.startswith("PyAV"):
        from vis.video import VideoReader

        for frame in VideoReader(path):
            yield frame.image
    else:
        import cv2

        video = cv2.VideoCapture(str(path))
        while (got := video.read())[0]:
            yield cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB)
        video.release()


class Sink:
    """Draws masks and encodes in a thread of its own."""

    def __init__(self, path: Path, how: str | None, size: tuple[int, int]) -> None:
        self.waiting: queue.Queue[tuple[np.ndarray, Detections] | None] = queue.Queue(4)
        self.failure: Exception | None = None
        self.thread = threading.Thread(target=self._work, args=(path, how, size), daemon=True)
        self.thread.start()

    def put(self, frame: np.ndarray, boxes: np.ndarray, masks: np.ndarray) -> None:
        ones, zeros = np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64)
        objects = Detections(boxes.astype(np.float32), ones, zeros, masks, np.arange(1, len(boxes) + 1))
        while self.failure is None:
            with suppress(queue.Full):
                self.waiting.put((frame, objects), timeout=1)
                return
        raise self.failure

    def close(self) -> None:
        self.waiting.put(None)
        self.thread.join()
        if self.failure is not None:
            raise self.failure

    def _pictures(self) -> Iterator[np.ndarray]:
        renderer = Renderer(("object",))
        while (item := self.waiting.get()) is not None:
            yield renderer.draw(*item)

    def _work(self, path: Path, how: str | None, size: tuple[int, int]) -> None:
        try:
            if how is not None and how.startswith("PyAV"):
                from vis.video import VideoWriter

                with VideoWriter(path, size, 30) as writer:
                    for picture in self._pictures():
                        writer.write(picture)
            else:
                import cv2

                fourcc = cv2.VideoWriter_fourcc(*"mp4v")
                out = cv2.VideoWriter(str(path), fourcc, 30, size[::-1]) if how else None
                for picture in self._pictures():
                    if out is not None:
                        out.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                if out is not None:
                    out.release()
        except Exception as error:
            self.failure = error


def ahead(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same frames, decoded in a thread of their own, a few ahead."""
    waiting: queue.Queue[Any] = queue.Queue(4)

    def work() -> None:
        try:
            for frame in frames:
                waiting.put(frame)
            waiting.put(None)
        except Exception as error:
            waiting.put(error)

    threading.Thread(target=work, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item

"""Files that need every frame again: the overlay, cut-outs with alpha as pictures and as video, a training set.

Each writes one file and yields the share that is done, so that it can be stopped between two frames.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.demo.clip_frames import covered
from apps.demo.session import Session
from vis.errors import UsageError
from vis.structures import TrackedFrame, VideoResult

__all__ = ["alpha_video", "cutouts", "overlay", "training_set"]

Image = NDArray[np.uint8]
MAX_TRAINING_PAIRS = 5000


def overlay(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    """The clip with its objects drawn on it; with its sound where no frame was left out."""
    from vis.render import OverlayWriter, Renderer

    assert session.info is not None
    dense = len(result.frames) < 2 or int(result.frames[1] - result.frames[0]) == 1
    # Frames that were left out would play faster than their sound.
    sound = session.video if dense and int(result.frames[0]) == 0 and session.info.has_audio else None
    renderer, total = Renderer(result.class_names), len(result.frames)
    with OverlayWriter(path, result.video, renderer, audio_from=sound, expected_frames=total) as writer:
        for done, tracked in enumerate(_replayed(session, result), 1):
            writer.write(tracked)
            yield done / total


def alpha_video(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    """All objects as one WebM (VP9) whose pixels are clear where no object is."""
    from vis.video import AlphaVideoWriter

    total = len(result.frames)
    fps = result.video.fps or 10.0
    with AlphaVideoWriter(path, result.video.size, fps, expected_frames=total) as writer:
        for done, tracked in enumerate(_replayed(session, result), 1):
            image = tracked.frame.image
            alpha = np.zeros((*image.shape[:2], 1), np.uint8)
            for _, mask in _masks(tracked):
                alpha[mask] = 255
            writer.write(np.concatenate([image, alpha], axis=2), tracked.frame.pts_seconds)
            yield done / total


def cutouts(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    """``object-2/000040.png``: the object's pixels, the rest clear, cropped to its mask."""
    from vis import masks as rle

    with _archive(path) as put:
        for done, tracked in enumerate(_replayed(session, result), 1):
            for number, mask in _masks(tracked):
                x0, y0, x1, y1 = rle.bounding_box(rle.encode(mask)).astype(int).tolist()
                if x1 > x0:
                    alpha = mask[y0:y1, x0:x1, None].astype(np.uint8) * 255
                    cut = np.concatenate([tracked.frame.image[y0:y1, x0:x1, ::-1], alpha], axis=2)
                    put(f"object-{number}/{tracked.frame.index:06d}.png", _encoded(".png", cut))
            yield done / len(result.frames)


def training_set(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    """``images/000040-2.jpg`` and ``masks/000040-2.png`` (0 and 255): one pair per object and frame.

    The layout that ``vistubes train fit --images`` reads. Raises :class:`UsageError` beyond
    ``MAX_TRAINING_PAIRS``, and when there is no mask.
    """
    pairs = sum(len(tube) for tube in result.tubes if tube.masks is not None)
    if pairs > MAX_TRAINING_PAIRS:
        raise UsageError(
            f"a training set of {pairs:,} pairs is more than the {MAX_TRAINING_PAIRS:,} that this page packs; "
            "process fewer frames, or delete objects"
        )
    if not pairs:
        raise UsageError("there is no mask for a training set; add an object first")
    with _archive(path) as put:
        for done, tracked in enumerate(_replayed(session, result), 1):
            picture = None
            for number, mask in _masks(tracked):
                if mask.any():
                    name = f"{tracked.frame.index:06d}-{number}"
                    picture = picture or _encoded(".jpg", tracked.frame.image[:, :, ::-1], quality=95)
                    put(f"images/{name}.jpg", picture)
                    put(f"masks/{name}.png", _encoded(".png", mask.astype(np.uint8) * 255))
            yield done / len(result.frames)


def _replayed(session: Session, result: VideoResult) -> Iterator[TrackedFrame]:
    """The processed frames with the objects that the result has on them."""
    from vis.pipeline import replay

    assert session.video is not None
    return replay(covered(session.video, result), result)


def _masks(tracked: TrackedFrame) -> list[tuple[int, NDArray[np.bool_]]]:
    """(id, bool (H, W)) of every object on a frame that has a mask."""
    found = tracked.detections
    if found.masks is None or found.track_ids is None:
        return []
    return list(zip(found.track_ids.tolist(), found.masks, strict=True))


@contextmanager
def _archive(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """A zip that appears whole or not at all; the value adds a file to it."""
    from vis.files import whole_file
    from vis.formats.zips import put

    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        yield partial(put, archive)


def _encoded(suffix: str, image: Image, *, quality: int | None = None) -> bytes:
    """PNG or JPEG bytes of a picture in OpenCV's order of channels."""
    import cv2

    ok, data = cv2.imencode(suffix, image, [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return data.tobytes()

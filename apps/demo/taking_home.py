"""Files to take home: the overlay video, the tubes in every format, cut-outs, the edits, a project."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from apps.demo.comparing import side_by_side
from apps.demo.engines import Engines
from apps.demo.project import write_project
from apps.demo.running import claim
from apps.demo.session import Session
from apps.demo.words import slug
from vis import edits
from vis.errors import CancelledError, UsageError
from vis.structures import VideoResult

__all__ = ["CHOICES", "DEFAULT_CHOICES", "Package", "prepare"]


CHOICES: dict[str, str] = {
    "overlay": "Overlay video (MP4, with sound)",
    "tubes": "tubes.json (everything)",
    "ytvis-results": "YTVIS results.json",
    "coco": "COCO video JSON",
    "davis": "DAVIS PNG (zip)",
    "mots-png": "MOTS PNG (zip)",
    "csv": "CSV table",
    "side-by-side": "SAM beside HQ-SAM (MP4, slow)",
    "cutouts": "Cut-outs with alpha (PNG zip)",
    "edits": "edits.json",
    "project": "Project (opens again here)",
}
"""Name -> what the page calls it."""

DEFAULT_CHOICES = ("overlay", "tubes", "ytvis-results")


Film = Callable[[Session, VideoResult, Path], Generator[float]]
"""Writes one file frame by frame and yields the share that is done."""


@dataclass(frozen=True, slots=True)
class Package:
    """How far the preparation is; at the end the files, and what formats could not hold."""

    text: str
    share: float | None = None
    files: tuple[Path, ...] = ()
    overlay: Path | None = None


def prepare(session: Session, engines: Engines, wanted: list[str], cache: Path) -> Iterator[Package]:
    """Write the chosen files into a folder of ``cache`` with an unguessable name; it replaces the one before."""
    history = session.history
    if history is None:
        raise UsageError("there is nothing to take home yet; press Run first")
    known = [name for name in CHOICES if name in wanted]
    if not known:
        raise UsageError("nothing is chosen; tick at least one kind of file")
    with claim(session):
        if session.take_home is not None:
            shutil.rmtree(session.take_home, ignore_errors=True)
        folder = session.take_home = cache / secrets.token_urlsafe(24)
        folder.mkdir(parents=True, mode=0o700)
        result = edits.sealed(history.result, history.base, history.edits, session.model)
        stem = slug(session.name)
        films: dict[str, tuple[str, Film]] = {
            "overlay": ("overlay.mp4", _overlay),
            "side-by-side": ("sam-hqsam.mp4", partial(side_by_side, engines)),
            "cutouts": ("cutouts.zip", _cutouts),
        }
        files: list[Path] = []
        lost: list[str] = []
        for place, name in enumerate(known):
            yield Package(f"{CHOICES[name]} …", place / len(known))
            if name in films:
                ending, make = films[name]
                files.append(folder / f"{stem}-{ending}")
                with closing(make(session, result, files[-1])) as steps:
                    for share in steps:
                        yield Package(f"{CHOICES[name]} … {share:.0%}", (place + share) / len(known))
                        if session.cancel.is_set():
                            raise CancelledError("stopped; press Prepare files to begin again")
            else:
                file, said = _write(session, result, name, folder, stem)
                files.append(file)
                lost += said
        overlay = files[known.index("overlay")] if "overlay" in known else None
        text = f"{len(files)} file{'s' * (len(files) != 1)} ready."
        if lost:
            text += " Not held by these formats: " + "; ".join(dict.fromkeys(lost)) + "."
        yield Package(text, None, tuple(files), overlay)


def _write(
    session: Session, result: VideoResult, name: str, folder: Path, stem: str
) -> tuple[Path, list[str]]:
    """One format's file; a format that is a folder becomes a zip."""
    from apps.convert import FORMATS

    assert session.history is not None
    if name == "edits":
        path = folder / "edits.json"
        edits.write(path, session.history.base, session.history.edits, model=session.model)
        return path, []
    if name == "project":
        return write_project(session, folder / f"{stem}-project.zip"), []
    row = FORMATS[name]
    if row.suffix:
        file = {"tubes": "tubes.json", "ytvis-results": "results.json"}.get(
            name, f"{stem}-{name}{row.suffix}"
        )
        return folder / file, row.write(folder / file, [result])
    inner = folder / f"{stem}-{name}"
    said = row.write(inner, [result])
    shutil.make_archive(str(inner), "zip", inner)
    shutil.rmtree(inner)
    return folder / f"{stem}-{name}.zip", said


def _source(session: Session, result: VideoResult) -> Any:
    from vis.video import WEB_LIMITS, open_source

    assert session.video is not None
    return open_source(session.video, end_frame=int(result.frames[-1]) + 1, limits=WEB_LIMITS)


def _overlay(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    from vis.pipeline import replay
    from vis.render import OverlayWriter, Renderer

    assert session.info is not None
    dense = len(result.frames) < 2 or int(result.frames[1] - result.frames[0]) == 1
    # Frames that were left out would play faster than their sound.
    sound = session.video if dense and int(result.frames[0]) == 0 and session.info.has_audio else None
    total = len(result.frames)
    with OverlayWriter(
        path, result.video, Renderer(result.class_names), audio_from=sound, expected_frames=total
    ) as writer:
        for done, tracked in enumerate(replay(_source(session, result), result), 1):
            writer.write(tracked)
            yield done / total


def _cutouts(session: Session, result: VideoResult, path: Path) -> Generator[float]:
    """``object-2/000040.png``: the object's pixels, the rest transparent, cropped to its mask."""
    import cv2
    import numpy as np

    from vis import masks as rle
    from vis.files import whole_file
    from vis.formats.zips import put
    from vis.pipeline import replay

    total = len(result.frames)
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for done, tracked in enumerate(replay(_source(session, result), result), 1):
            found, image = tracked.detections, tracked.frame.image
            ids = found.track_ids
            for mask, number in zip(
                () if found.masks is None else found.masks, () if ids is None else ids.tolist(), strict=False
            ):
                x0, y0, x1, y1 = rle.bounding_box(rle.encode(mask)).astype(int).tolist()
                if x1 > x0:
                    alpha = mask[y0:y1, x0:x1, None].astype(np.uint8) * 255
                    cut = np.concatenate([image[y0:y1, x0:x1, ::-1], alpha], axis=2)
                    ok, data = cv2.imencode(".png", cut)
                    assert ok
                    put(archive, f"object-{number}/{tracked.frame.index:06d}.png", data.tobytes())
            yield done / total

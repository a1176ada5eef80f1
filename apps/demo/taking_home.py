"""Files to take home: the overlay video, the tubes in every format, cut-outs, the edits, a project."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from apps.demo import films
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
    "alpha-video": "Cut-out video with alpha (VP9 WebM)",
    "cutouts": "Cut-outs with alpha (PNG zip)",
    "training": "Training set: images and masks (zip)",
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
    known = [name for name in CHOICES if name in wanted]
    if not known:
        raise UsageError("nothing is chosen; tick at least one kind of file")
    with claim(session):
        history = session.history
        if history is None:
            raise UsageError("there is nothing to take home yet; press Run first")
        if session.take_home is not None:
            shutil.rmtree(session.take_home, ignore_errors=True)
        folder = session.take_home = cache / secrets.token_urlsafe(24)
        folder.mkdir(parents=True, mode=0o700)
        result = edits.sealed(history.result, history.base, history.edits, session.model)
        stem = slug(session.name)
        filmed: dict[str, tuple[str, Film]] = {
            "overlay": ("overlay.mp4", films.overlay),
            "side-by-side": ("sam-hqsam.mp4", partial(side_by_side, engines)),
            "alpha-video": ("cutout.webm", films.alpha_video),
            "cutouts": ("cutouts.zip", films.cutouts),
            "training": ("training.zip", films.training_set),
        }
        files: list[Path] = []
        lost: list[str] = []
        for place, name in enumerate(known):
            yield Package(f"{CHOICES[name]} …", place / len(known))
            if name in filmed:
                ending, make = filmed[name]
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

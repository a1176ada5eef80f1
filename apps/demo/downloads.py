"""Files to download: the overlay video, the tubes in every format, cut-outs, the edits, a project."""

from __future__ import annotations

import logging
import secrets
import shutil
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from apps.demo import video_exports
from apps.demo.comparing import side_by_side
from apps.demo.labels import clean_message, clean_text, slug
from apps.demo.model_cache import ModelCache
from apps.demo.project import write_project
from apps.demo.running import claim
from apps.demo.session import Session
from vis import edits
from vis.errors import CancelledError, UsageError, VisError, VisWarning
from vis.structures import VideoResult

__all__ = ["CHOICES", "DEFAULT_CHOICES", "Package", "prepare"]

logger = logging.getLogger("vistubes.page")

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


def prepare(session: Session, model_cache: ModelCache, wanted: list[str], cache: Path) -> Iterator[Package]:
    """Write the chosen files into a folder of ``cache`` with an unguessable name; it replaces the one before.

    Results come first. A video or an archive of pictures that cannot be made is left out, with the reason.
    """
    known = [name for name in CHOICES if name in wanted]
    if not known:
        raise UsageError("nothing is chosen; tick at least one kind of file")
    with claim(session):
        history = session.history
        if history is None:
            raise UsageError("there is nothing to download yet; press Run first")
        if session.downloads is not None:
            shutil.rmtree(session.downloads, ignore_errors=True)
        folder = session.downloads = cache / secrets.token_urlsafe(24)
        folder.mkdir(parents=True, mode=0o700)
        result = edits.sealed(history.result, history.base, history.edits, session.model)
        stem = slug(session.name)
        filmed: dict[str, tuple[str, Film]] = {
            "overlay": ("overlay.mp4", video_exports.overlay),
            "side-by-side": ("sam-hqsam.mp4", partial(side_by_side, model_cache)),
            "alpha-video": ("cutout.webm", video_exports.alpha_video),
            "cutouts": ("cutouts.zip", video_exports.cutouts),
            "training": ("training.zip", video_exports.training_set),
        }
        files: dict[str, Path] = {}
        lost: list[str] = []
        notes: list[str] = []
        for place, name in enumerate(sorted(known, key=filmed.__contains__)):
            yield Package(f"{CHOICES[name]} …", place / len(known))
            if name not in filmed:
                files[name], said = _write(session, result, name, folder, stem)
                lost += said
                continue
            ending, make = filmed[name]
            path = folder / f"{stem}-{ending}"
            try:
                for share in _filmed(session, make(session, result, path), notes):
                    yield Package(f"{CHOICES[name]} … {share:.0%}", (place + share) / len(known))
                files[name] = path
            except CancelledError:
                for file in files.values():
                    file.unlink()
                raise
            except Exception as error:
                if len(known) == 1:
                    raise
                if not isinstance(error, VisError):
                    logger.error("%s could not be made", name, exc_info=error)
                notes.append(f"{CHOICES[name]} is left out: {clean_message(error).rstrip('.')}")
        text = clean_text(_ending(len(files), lost, notes), session.spoken)
        ready = tuple(files[name] for name in known if name in files)
        last = Package(text, None, ready, files.get("overlay"))
    yield last  # after the claim: what the visitor does on seeing it is not refused


def _filmed(session: Session, steps: Generator[float], notes: list[str]) -> Iterator[float]:
    """The shares that are done; warnings join the notes. Raises :class:`CancelledError` where the visitor cancels."""
    with warnings.catch_warnings(record=True) as caught, closing(steps):
        warnings.simplefilter("always", VisWarning)
        for share in steps:
            yield share
            if session.cancel.is_set():
                raise CancelledError("stopped; press Prepare files to begin again")
    notes += [str(w.message) for w in caught if issubclass(w.category, VisWarning)]


def _ending(files: int, lost: list[str], notes: list[str]) -> str:
    text = f"{files} file{'s' * (files != 1)} ready."
    if lost:
        text += " Not held by these formats: " + "; ".join(dict.fromkeys(lost)) + "."
    return text + "".join(f" Note: {note}." for note in dict.fromkeys(notes))


def _write(
    session: Session, result: VideoResult, name: str, folder: Path, stem: str
) -> tuple[Path, list[str]]:
    """One format's file; a format that is a folder becomes a zip."""
    from vis.formats.registry import FORMATS

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

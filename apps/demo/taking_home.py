"""Files to take home: the overlay video, the tubes in every format, cut-outs, the edits, a project."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.demo.command import commands
from apps.demo.engines import Engines
from apps.demo.opening import SUFFIXES
from apps.demo.running import claim
from apps.demo.session import Session, reopen
from apps.demo.words import display_name, slug
from vis import edits
from vis.errors import AnnotationError, UsageError, VisError
from vis.formats.zips import open_zip, read_member
from vis.structures import VideoResult

__all__ = ["CHOICES", "DEFAULT_CHOICES", "Package", "open_project", "prepare"]

PROJECT = ("session.json", "base.json", "edits.json")

CHOICES: dict[str, str] = {
    "overlay": "Overlay video (MP4, with sound)",
    "tubes": "tubes.json (everything)",
    "ytvis-results": "YTVIS results.json",
    "coco": "COCO video JSON",
    "davis": "DAVIS PNG (zip)",
    "mots-png": "MOTS PNG (zip)",
    "csv": "CSV table",
    "cutouts": "Cut-outs with alpha (PNG zip)",
    "edits": "edits.json",
    "project": "Project (opens again here)",
}
"""Name -> what the page calls it."""

DEFAULT_CHOICES = ("overlay", "tubes", "ytvis-results")


@dataclass(frozen=True, slots=True)
class Package:
    """How far the preparation is; at the end the files, and what formats could not hold."""

    text: str
    share: float | None = None
    files: tuple[Path, ...] = ()
    overlay: Path | None = None


def prepare(session: Session, wanted: list[str], cache: Path) -> Iterator[Package]:
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
        files: list[Path] = []
        lost: list[str] = []
        overlay: Path | None = None
        for place, name in enumerate(known):
            yield Package(f"Writing {CHOICES[name]} …", place / len(known))
            if name == "overlay":
                overlay = folder / f"{stem}-overlay.mp4"
                for share in _overlay(session, result, overlay):
                    yield Package(f"Drawing the overlay video … {share:.0%}", (place + share) / len(known))
                files.append(overlay)
            elif name == "cutouts":
                files.append(folder / f"{stem}-cutouts.zip")
                for share in _cutouts(session, result, files[-1]):
                    yield Package(f"Cutting out … {share:.0%}", (place + share) / len(known))
            else:
                file, said = _write(session, result, name, folder, stem)
                files.append(file)
                lost += said
            if session.cancel.is_set():
                break
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
        return _project(session, folder / f"{stem}-project.zip"), []
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


def _overlay(session: Session, result: VideoResult, path: Path) -> Iterator[float]:
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


def _cutouts(session: Session, result: VideoResult, path: Path) -> Iterator[float]:
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


def _project(session: Session, path: Path) -> Path:
    from vis.files import whole_file
    from vis.formats.zips import put

    session.save()
    assert session.video is not None
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in (*PROJECT, session.video.name):
            put(archive, name, (session.folder / name).read_bytes())
        put(archive, "commands.txt", (commands(session) + "\n").encode())
    return path


def open_project(session: Session, engines: Engines, file: Path) -> None:
    """Open a project that ``prepare`` wrote: the clip, the result and its edits.

    It is opened in a folder of its own first: what is open stays, unless the whole project is sound.
    Raises :class:`AnnotationError` when it is something else. Nothing but the four known names is read.
    """
    members, video = _read_project(file)
    with tempfile.TemporaryDirectory(prefix="project-", dir=session.folder) as place:
        trial = Session(Path(place))
        for name, data in members.items():
            (trial.folder / name).write_bytes(data)
        _check_clip(trial.folder / video, video)
        if not reopen(trial, engines.decoder_of) or trial.history is None:
            raise AnnotationError(
                "the project does not open: its result, edits and clip do not fit together, or it was made with "
                "a model that is not installed here"
            )
        with session.lock:
            session.forget_result()
            session.clear()
            for name in members:
                (trial.folder / name).replace(session.folder / name)
            session.video, session.info = session.folder / video, trial.info
            session.name, session.model, session.history = (
                display_name(trial.name),
                trial.model,
                trial.history,
            )
            session.options = {"source": session.name, "words": _words(trial.options.get("words"))}
            session.selected = next((tube.id for tube in trial.history.result.tubes), None)
        trial.clear()


def _read_project(file: Path) -> tuple[dict[str, bytes], str]:
    """The members of a project zip by their plain names, and the name of its clip."""
    from vis.video import WEB_LIMITS

    with open_zip(file) as archive:
        try:
            note = json.loads(read_member(archive, "session.json", "session.json"))
            video = str(note["video"])
            members = {name: read_member(archive, name, name) for name in PROJECT}
            members[video] = read_member(archive, video, video, limit=WEB_LIMITS.bytes)
        except (ValueError, KeyError, TypeError) as error:
            raise AnnotationError(
                "this zip is not a project of this page; open a video, or a project"
            ) from error
    stem, _, suffix = video.rpartition(".")
    if video in PROJECT or slug(video) != stem or f".{suffix}" not in SUFFIXES:
        raise AnnotationError(
            "this project holds no clip of a known kind; open a project that this page wrote"
        )
    return members, video


def _check_clip(path: Path, name: str) -> None:
    """The clip of a project meets the same limits as an upload."""
    from vis.video import WEB_LIMITS, probe

    try:
        probe(path, limits=WEB_LIMITS)
    except VisError as error:
        raise AnnotationError(f"the project's clip: {str(error).replace(str(path), name)}") from error


def _words(value: object) -> list[str]:
    """The words of the run, for showing its command; anything else is dropped."""
    ok = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return list(value) if ok and isinstance(value, list) else []

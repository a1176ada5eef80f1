"""A project: clip, result and edits in one zip that opens again on any page, and the commands that repeat the work."""

from __future__ import annotations

import json
import shlex
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from apps.demo.clip_frames import inspect
from apps.demo.labels import display_name, slug
from apps.demo.model_cache import ModelCache
from apps.demo.session import Session, reopen
from apps.demo.upload import SUFFIXES
from vis.errors import AnnotationError, VisError
from vis.files import whole_file
from vis.formats.zips import open_zip, put, read_member

__all__ = ["commands", "open_project", "write_project"]

PROJECT = ("session.json", "base.json", "edits.json")


def write_project(session: Session, path: Path) -> Path:
    """Write the zip; returns its path."""
    session.save()
    assert session.video is not None
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in (*PROJECT, session.video.name):
            put(archive, name, (session.folder / name).read_bytes())
        put(archive, "commands.txt", (commands(session) + "\n").encode())
    return path


def open_project(session: Session, model_cache: ModelCache, file: Path) -> None:
    """Open a project that ``write_project`` wrote: the clip, the result and its edits.

    It is opened in a folder of its own first: what is open stays, unless the whole project is sound.
    Raises :class:`AnnotationError` when it is something else. Nothing but the four known names is read.
    """
    members, video = _read_project(file)
    with tempfile.TemporaryDirectory(prefix="project-", dir=session.folder) as place:
        trial = Session(Path(place))
        for name, data in members.items():
            (trial.folder / name).write_bytes(data)
        _check_clip(trial.folder / video, video)
        if not reopen(trial, model_cache.decoder_of) or trial.history is None:
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
    try:
        inspect(path)
    except VisError as error:
        raise AnnotationError(f"the project's clip: {str(error).replace(str(path), name)}") from error


def _words(value: object) -> list[str]:
    """The words of the run, for showing its command; anything else is dropped."""
    ok = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return list(value) if ok and isinstance(value, list) else []


def commands(session: Session) -> str:
    """Lines that repeat this visitor's work on their own machine, COCO and cut-out included."""
    if session.history is None:
        return ""
    source, out = session.options["source"], f"runs/{slug(session.name)}"
    lines = [["vistubes", "run", source, *session.options["words"], "--out", out]]
    if session.history.edits:
        edit: list[Any] = ["vistubes", "edit", f"{out}/tubes.json", "edits.json", source]
        lines.append([*edit, "--out", f"{out}-edited/tubes.json"])
        out = f"{out}-edited/tubes.json"
    name = slug(session.name)
    lines.append(["vistubes", "convert", out, f"{name}.json", "--to", "coco"])
    lines.append(["vistubes", "cutout", out, source, "--out", f"{name}-cutout.webm"])
    return "\n".join(shlex.join(line) for line in lines)

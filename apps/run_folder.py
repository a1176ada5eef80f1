"""A run folder: what a run leaves behind. Its results appear whole or not at all, its pictures come after.

::

    results.json        YTVIS results, for evaluators
    tubes.json          the full result; reads back
    run.json            versions, weights, options, timings; with it in place the results are final
    contact_sheet.png   a few frames with overlays, for looking
    overlay.mp4         the video with its tubes drawn on it

``pictures`` in run.json says how far the drawing is (:mod:`apps.rendering`): whatever happens while pictures are
drawn, the results stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vis.errors import OutputError
from vis.files import STEM_LETTERS, flushed_as_one, sync_folder

__all__ = [
    "FILES",
    "Output",
    "RunFolder",
    "added_files",
    "check_replaceable",
    "new_run_folder",
    "restore",
    "tubes_of",
]

FILES = ("overlay.mp4", "results.json", "tubes.json", "contact_sheet.png", "run.json")


@dataclass(frozen=True, slots=True)
class Output:
    """Where a run's results go, and what is said of them."""

    folder: Path | None = None
    """None: one named after the video."""
    overwrite: bool = False
    overlay: bool = True
    """Whether overlay.mp4 is drawn."""
    json: bool = False
    """Whether run.json is printed too."""
    quiet: bool = False


@dataclass(slots=True)
class RunFolder:
    """A run folder while it is made."""

    part: Path
    """The temporary folder: what is written here appears in ``out``."""
    out: Path
    """Where the folder is after the ``with`` block: where it was asked for, unless something else came first."""


def tubes_of(result: Path) -> Path:
    """The tubes.json of a saved result: the file itself, or the one in a run folder."""
    return result / "tubes.json" if result.is_dir() else result


@contextmanager
def new_run_folder(out: Path, *, overwrite: bool) -> Iterator[RunFolder]:
    """A temporary folder beside ``out`` that becomes ``out`` when the block ends well.

    An existing ``out`` is an error without ``overwrite``; with it, the old folder stays untouched
    until the new one is whole. Only a folder that looks like ours is ever replaced. Where another run has taken
    ``out`` meanwhile, the new folder gets a number: ``out-2``.
    """
    _check(out, overwrite=overwrite)
    if out.is_symlink():
        out = out.resolve()  # the folder is replaced, not the link to it
    with _told(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name[:STEM_LETTERS]}.", suffix=".part", dir=out.parent))
        part.chmod(0o755)
    folder = RunFolder(part, out)
    try:
        with flushed_as_one(part):
            yield folder
        with _told(out):
            folder.out = _put_in_place(part, out, overwrite=overwrite)
            sync_folder(out.parent)
    except OutputError as error:
        # The user knows the run by its own name, not by the temporary one.
        raise OutputError(str(error).replace(str(part), str(out))) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def added_files(folder: Path, *, last: str = "run.json") -> Iterator[Path]:
    """A temporary folder whose files become files of ``folder`` when the block ends well.

    All are on the disk before the first has its place, and all others have theirs before ``last`` has its own: where
    that file is, what it stands for is there too, whenever the power fails.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".added.", suffix=".part", dir=folder))
    try:
        with flushed_as_one(part):
            yield part
        with _told(folder):
            files = list(part.iterdir())
            for file in files:
                if file.name != last:
                    file.replace(folder / file.name)
            sync_folder(folder)
            if part / last in files:
                (part / last).replace(folder / last)
                sync_folder(folder)
    except OutputError as error:
        raise OutputError(str(error).replace(str(part), str(folder))) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """What the system says of making or swapping the folder, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{out}: the run folder cannot be written ({error.strerror or error}); "
            "free some space or choose another folder with --out"
        ) from error


def check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Raise :class:`OutputError` unless ``out`` may be made; called before any work is done.

    A folder that a killed run had moved away, to put its own in place, is put back first.
    """
    with _told(out):
        if not out.exists() and out.parent.is_dir():
            restore(out.parent, out.name)
    _check(out, overwrite=overwrite)


def restore(parent: Path, name: str | None = None) -> None:
    """Put back the run folders below ``parent`` that a kill caught between the two renames of a replacement.

    ``name``: that one alone. A place that is taken by now stays as it is.
    """
    for away in parent.glob(".*.old"):
        for old in [away / name] if name is not None else list(away.iterdir()):
            if old.is_dir() and not (parent / old.name).exists():
                old.replace(parent / old.name)


def _check(out: Path, *, overwrite: bool) -> None:
    with _told(out):
        if not out.exists():
            return
        if not out.is_dir():
            raise OutputError(f"{out}: exists and is not a folder; choose another name with --out")
        if os.path.ismount(out):
            # It could not be swapped for the new one after all the work.
            raise OutputError(f"{out}: is the root of a file system; give a folder in it, like {out / 'run'}")
        if not any(out.iterdir()):
            return
    if not overwrite:
        raise OutputError(f"{out}: exists; add --overwrite to replace it, or choose another name with --out")
    if not (out / "run.json").is_file():
        raise OutputError(
            f"{out}: exists and holds no run.json, so it is not a run of this program and is not replaced; "
            "choose another name with --out"
        )


def _put_in_place(part: Path, out: Path, *, overwrite: bool) -> Path:
    """Give the whole folder its name; returns the place."""
    if overwrite and out.exists():
        # Kept under its own name, so that ``restore`` knows where it belongs.
        away = Path(tempfile.mkdtemp(prefix=".", suffix=".old", dir=out.parent))
        old = away / out.name
        try:
            out.replace(old)
            part.replace(out)
        except OSError:
            if old.exists():
                old.replace(out)
            away.rmdir()
            raise
        shutil.rmtree(away, ignore_errors=True)
        return out
    place, number = out, 2
    while place.exists() and not (place.is_dir() and not any(place.iterdir())):
        place, number = out.with_name(f"{out.name}-{number}"), number + 1
    with contextlib.suppress(FileNotFoundError):
        place.rmdir()  # empty; not every system renames a folder onto another
    part.replace(place)
    return place

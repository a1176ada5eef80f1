"""A run folder: what a run leaves behind, whole or not at all.

::

    overlay.mp4         the video with its tubes drawn on it
    results.json        YTVIS results, for evaluators
    tubes.json          the full result; reads back
    contact_sheet.png   a few frames with overlays, for looking
    run.json            versions, weights, options, timings; written last: its presence means done
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vis.errors import OutputError

__all__ = ["FILES", "new_run_folder", "tubes_of"]

FILES = ("overlay.mp4", "results.json", "tubes.json", "contact_sheet.png", "run.json")


def tubes_of(result: Path) -> Path:
    """The tubes.json of a saved result: the file itself, or the one in a run folder."""
    return result / "tubes.json" if result.is_dir() else result


@contextmanager
def new_run_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` when the block ends well.

    An existing ``out`` is an error without ``overwrite``; with it, the old folder stays untouched
    until the new one is whole. Only a folder that looks like ours is ever replaced.
    """
    check_replaceable(out, overwrite=overwrite)
    with _told(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        part.chmod(0o755)
    try:
        yield part
        with _told(out):
            _swap_in(part, out)
    except OutputError as error:
        # The user knows the run by its own name, not by the temporary one.
        raise OutputError(str(error).replace(str(part), str(out))) from error
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
    """Raise :class:`OutputError` unless ``out`` may be made; called before any work is done."""
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out}: exists and is not a folder; choose another name with --out")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{out}: exists; add --overwrite to replace it, or choose another name with --out")
    if not (out / "run.json").is_file():
        raise OutputError(
            f"{out}: exists and holds no run.json, so it is not a run of this program and is not replaced; "
            "choose another name with --out"
        )


def _swap_in(part: Path, out: Path) -> None:
    if not out.exists():
        part.replace(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
    out.replace(old)  # an empty folder may be replaced by a folder
    try:
        part.replace(out)
    except OSError:
        old.replace(out)
        raise
    shutil.rmtree(old, ignore_errors=True)

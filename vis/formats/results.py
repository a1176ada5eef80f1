"""Results saved and read back whole: one ``tubes.json``, or a folder as ``vistubes run`` makes it."""

from __future__ import annotations

from pathlib import Path

from vis.errors import OutputError
from vis.formats import tubes, ytvis
from vis.structures import VideoResult

__all__ = ["read_results", "write_results"]


def write_results(result: VideoResult, path: str | Path) -> None:
    """Save ``result``.

    Args:
        result: what to save.
        path: a file whose name ends in ``.json`` gets the full result. Anything else is a folder, made where it
            is missing: ``tubes.json`` in it is the full result, ``results.json`` YTVIS results for evaluators,
            left out where a tube has boxes only.

    Raises :class:`OutputError` where that cannot be written, or the folder is that of a run, whose other files tell of
    another result.
    """
    path = Path(path)
    if path.suffix == ".json":
        tubes.write(path, result)
        return
    if (path / "run.json").exists():
        raise OutputError(
            f"{path}: holds a run of this program; give another folder, or a file like tubes.json"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: the folder cannot be made ({error.strerror or error})") from error
    if all(tube.masks is not None for tube in result.tubes):
        ytvis.write_results(path / "results.json", result)
    else:
        (path / "results.json").unlink(missing_ok=True)
    tubes.write(path / "tubes.json", result)


def read_results(path: str | Path) -> VideoResult:
    """What :func:`write_results` or a verb saved: a ``tubes.json``, or a folder that holds one.

    Raises :class:`InputError` where there is none, and :class:`AnnotationError` for any other content; files of
    other formats are read by ``vis.formats.registry.FORMATS``.
    """
    path = Path(path)
    return tubes.read(path / "tubes.json" if path.is_dir() else path)

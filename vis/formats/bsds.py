"""Boundaries drawn by people, as BSDS500 publishes them: one MATLAB file an image, several annotators in each.

::

    groundTruth/test/NAME.mat    groundTruth {1 x annotators}, in each cell a struct: .Boundaries (H, W), 1 on lines

Only version 5 files are read, which all of the set are.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError
from vis.masks import MAX_PIXELS

__all__ = ["list_boundaries", "read_boundaries"]

MAX_BYTES = 2**28
"""Of a file, and of what it holds once it is inflated."""
_HEADER = 128
_COMPRESSED = 15  # miCOMPRESSED
_ANNOTATORS = 1000


def list_boundaries(folder: Path) -> list[Path]:
    """The ``.mat`` files of a folder, by name. Raises :class:`AnnotationError` when there are none."""
    if not folder.is_dir():
        raise AnnotationError(
            f"{folder}: no such folder; give the .mat files of one split, such as BSDS500/data/groundTruth/test"
        )
    files = sorted(path for path in folder.glob("*.mat") if not path.name.startswith("."))
    if not files:
        below = next((path.parent.name for path in sorted(folder.glob("*/*.mat"))), None)
        hint = f"give one split of it, as {folder / below}" if below else "give that of BSDS500's groundTruth"
        raise AnnotationError(f"{folder}: holds no .mat file; {hint}")
    return files


def read_boundaries(path: Path) -> list[NDArray[np.bool_]]:
    """Each annotator's boundary, bool (H, W), all of one size. Raises :class:`AnnotationError`, naming the file."""
    from scipy.io import loadmat
    from scipy.sparse import issparse

    try:
        if path.stat().st_size > MAX_BYTES:
            raise AnnotationError(f"{path}: over {MAX_BYTES:,} bytes; expected boundaries of one image")
        held = loadmat(io.BytesIO(_inflated(path.read_bytes())), variable_names=["groundTruth"])
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # scipy raises what its parser stumbles over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise AnnotationError(f"{path}: no MATLAB file of version 5 that can be read ({reason})") from error
    cells = held.get("groundTruth")
    if not isinstance(cells, np.ndarray) or cells.dtype != object or not 0 < cells.size <= _ANNOTATORS:
        raise AnnotationError(
            f"{path}: expected a cell array 'groundTruth' with a struct for each annotator, as BSDS500's files have"
        )
    boundaries = []
    for number, cell in enumerate(cells.ravel(), 1):
        where = f"{path}: annotator {number}"
        drawn = _field(cell, where)
        if issparse(drawn):
            drawn = drawn.toarray() if max(drawn.shape) ** 2 <= MAX_PIXELS * 4 else None
        boundaries.append(_boundary(drawn, where))
    sizes = {boundary.shape for boundary in boundaries}
    if len(sizes) > 1:
        raise AnnotationError(f"{path}: boundaries of different sizes, {sorted(sizes)}")
    return boundaries


def _inflated(data: bytes) -> bytes:
    """The file with its compressed parts inflated, so that its size is known before anything is built of it."""
    if len(data) < _HEADER:
        raise AnnotationError("no MATLAB file: it is shorter than its header")
    if data[126:128] not in (b"IM", b"MI"):
        raise AnnotationError("no MATLAB file of version 5; in MATLAB save it with -v7, not -v7.3")
    order = "<" if data[126:128] == b"IM" else ">"
    parts, at, total = [data[:_HEADER]], _HEADER, _HEADER
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        inside = data[at + 8 : at + 8 + size]
        if kind == _COMPRESSED:
            engine = zlib.decompressobj()
            part = engine.decompress(inside, MAX_BYTES - total)
            if engine.unconsumed_tail:
                raise AnnotationError(f"it holds over {MAX_BYTES:,} bytes; expected boundaries of one image")
            step = 8 + size
        else:
            part = data[at : at + 8 + size]
            step = 8 + size + -size % 8
        parts.append(part)
        total += len(part)
        at += step
    return b"".join(parts)


def _field(cell: Any, where: str) -> Any:
    """What the struct of one annotator holds as ``Boundaries``."""
    names = cell.dtype.names if isinstance(cell, np.ndarray) else None
    if names is None or "Boundaries" not in names or cell.size != 1:
        raise AnnotationError(f"{where}: expected one struct with the field 'Boundaries'")
    return cell["Boundaries"].flat[0]


def _boundary(drawn: Any, where: str) -> NDArray[np.bool_]:
    if (
        not isinstance(drawn, np.ndarray)
        or drawn.ndim != 2
        or drawn.dtype.kind not in "biuf"
        or not drawn.size
    ):
        raise AnnotationError(f"{where}: 'Boundaries' is no matrix of numbers, one for each pixel")
    if drawn.size > MAX_PIXELS:
        raise AnnotationError(f"{where}: 'Boundaries' has {drawn.size:,} pixels, over {MAX_PIXELS:,}")
    return np.ascontiguousarray(drawn != 0)

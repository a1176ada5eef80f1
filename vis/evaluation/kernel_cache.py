"""Loops compiled by numba, and the folder that keeps their machine code.

``@kernel(types...)`` stands where ``@numba.njit(types, cache=True)`` would, and does three things more:

* numba sees a change in a function, not in the functions of other files that it calls. So the folder's name
  holds a hash of all files with kernels.
* Nothing is compiled or read before the first call. The first process of an installation compiles all kernels,
  once, and says so; others wait for it.
* Where no folder can be written, code is compiled in memory, and a warning says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import platform
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
import numba.core.config

from vis.cache import cache_folder
from vis.errors import FallbackWarning

__all__ = ["Kernel", "compile_all", "kernel"]

_config: Any = numba.core.config
COMPLETE = "complete"
"""File that says that all kernels of a folder were compiled."""


@dataclass(slots=True)
class _Process:
    """What this process knows."""

    kernels: list[Kernel] = field(default_factory=list)
    ready: bool = False
    """Whether ``folder`` was looked for."""
    folder: Path | None = None
    """Where code is kept; None: nowhere."""


_process = _Process()
_lock = threading.RLock()


class Kernel:
    """A function that numba compiles, or loads, when it is first called. Python's lock is released while it runs."""

    def __init__(self, function: Callable[..., Any], types: tuple[Any, ...]) -> None:
        self.function, self.types = function, types
        self.__doc__ = function.__doc__
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        if self._compiled is None:
            compile_all(self)
        assert self._compiled is not None
        return self._compiled(*arguments)

    def compile(self) -> None:
        """Load the machine code from the process's folder, or make it and keep it there."""
        if self._compiled is not None:
            return
        folder = _process.folder
        if folder is not None:
            try:
                with _numba_folder(folder):
                    self._compiled = self._jitted(cache=True)
            except Exception as error:  # a full disk, a broken file: whatever numba's cache may raise
                _give_up(folder, error)
            else:
                return
        self._compiled = self._jitted(cache=False)

    def _jitted(self, *, cache: bool) -> Callable[..., Any]:
        made: Callable[..., Any] = numba.njit(self.types, cache=cache, nogil=True, error_model="numpy")(
            self.function
        )
        return made


def kernel(*types: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator for a function whose arguments have these numba types."""

    def made(function: Callable[..., Any]) -> Kernel:
        _process.kernels.append(Kernel(function, types))
        return _process.kernels[-1]

    return made


def compile_all(wanted: Kernel | None = None) -> None:
    """Have all kernels compiled and kept, and ``wanted`` loaded (None: all of them)."""
    with _lock:
        if not _process.ready:
            _spare_numba_scipy()
            _find_folder()
            _process.ready = True
        for one in _process.kernels if wanted is None else (wanted,):
            one.compile()


def _find_folder() -> None:
    """Have a folder with the code of all kernels, where one can be written."""
    folder = cache_folder() / "kernels" / _key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # numba asks for as much
    except OSError as error:
        _warn_of_memory(f"{folder}: {error.strerror or error}")
        return
    _process.folder = folder
    if (folder / COMPLETE).exists():
        return
    from filelock import FileLock  # only the first process waits for its import

    lock = FileLock(folder / "lock")
    # Where the file system has no locks, each process compiles; numba's files appear whole or not at all.
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire()
    try:
        if not (folder / COMPLETE).exists():
            logging.getLogger(__name__).warning(
                "compiling the evaluator's loops, once for this installation: ten to thirty seconds"
            )
            for one in _process.kernels:
                one.compile()
            if _process.folder is not None:
                with contextlib.suppress(OSError):
                    (folder / COMPLETE).touch()
    finally:
        lock.release()


def _give_up(folder: Path, error: Exception) -> None:
    """Go on in memory; a later process begins with an empty folder."""
    _process.folder = None
    _warn_of_memory(f"{folder}: {error}")
    shutil.rmtree(folder, ignore_errors=True)


def _warn_of_memory(reason: str) -> None:
    warnings.warn(
        f"the evaluator's compiled loops cannot be kept ({reason}): this process compiles them for itself, which "
        "takes some seconds; name a folder that can be written in VISTUBES_CACHE",
        FallbackWarning,
        stacklevel=2,
    )


def _key() -> str:
    """What the machine code depends on: the sources, the compiler, the CPU."""
    parts = [numba.__version__, llvmlite.__version__, platform.python_version()]
    parts += [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(Path(__file__).parent.glob("*kernel*.py")):
        # The place is part of numba's own key, too: code is compiled once for each installation.
        digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:24]


@contextlib.contextmanager
def _numba_folder(folder: Path) -> Iterator[None]:
    """While numba decorates a function: its cache lies in ``folder``."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        _config.CACHE_DIR = before


def _spare_numba_scipy() -> None:
    """Have numba believe that scipy is there, which this project requires.

    To see it, numba imports all of scipy.linalg, which no loop here uses, before it compiles or loads anything: a
    fifth of a second, more than the loops take.
    """
    with contextlib.suppress(ImportError, AttributeError):
        linalg: Any = importlib.import_module("numba.np.linalg")
        look, linalg.ensure_blas = linalg.ensure_blas, lambda: None
        try:
            importlib.import_module("numba.np.arraymath")  # looks once, when it is imported
        finally:
            linalg.ensure_blas = look

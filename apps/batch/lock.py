"""One batch per output folder at a time, by a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from apps.run_folder import restore
from vis.errors import OutputError

__all__ = ["acquire", "acquire_as_worker", "clear_leftovers"]

_kept: list[IO[str]] = []


@contextlib.contextmanager
def acquire(out: Path, *, wait_seconds: float = 30.0) -> Iterator[None]:
    """Hold ``out`` for this batch; raises :class:`OutputError` when another one does.

    Also waits until the workers of a killed batch are gone, so that none of them writes any more.
    """
    state = out / ".batch"
    try:
        state.mkdir(parents=True, exist_ok=True)
        mine = (state / "lock").open("a+", encoding="utf-8")
        theirs = (state / "workers.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    with mine, theirs:
        if not _try(mine, exclusive=True):
            mine.seek(0)
            raise OutputError(
                f"{out}: another batch works here ({mine.read().strip()}); wait for it, or choose another --out"
            )
        # Who holds it is only for the message above: a full disk must not stop a resume here.
        with contextlib.suppress(OSError):
            mine.truncate(0)
            mine.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            mine.flush()
        until = time.monotonic() + wait_seconds
        while not _try(theirs, exclusive=True):
            if time.monotonic() > until:
                raise OutputError(f"{out}: workers of an earlier batch still run; end them first")
            time.sleep(0.05)
        theirs.close()
        yield


def acquire_as_worker(out: Path) -> None:
    """Let the next batch know, until this process ends, that this worker may still write."""
    with contextlib.suppress(OSError):
        file = (out / ".batch" / "workers.lock").open("a+", encoding="utf-8")
        _try(file, exclusive=False)
        _kept.append(file)


def clear_leftovers(out: Path) -> None:
    """Remove half-written files and folders that a killed batch left under ``out``.

    Only names that :mod:`vis.files` and :mod:`apps.run_folder` give: hidden, ending in ``.part``,
    ``.part.<suffix>`` or ``.old``. A finished run folder that a kill caught while it was being replaced is put
    back. Called while the folder is held.
    """
    for folder, below, files in os.walk(out):
        restore(Path(folder))
        for name in [*below, *files]:
            hidden = name.startswith(".") and name != ".batch"
            if hidden and (name.endswith((".part", ".old")) or ".part." in name):
                path = Path(folder) / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        below[:] = [name for name in below if (Path(folder) / name).exists()]


def _try(file: IO[str], *, exclusive: bool) -> bool:
    """Take the lock if it is free. Where the system has no such locks (Windows), it always is."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: better to work than to refuse
    return True

"""Worker processes on this machine: started, watched, and replaced when they are lost.

A video is decoded in a worker and nowhere else. A worker that dies (a crash in native code, the kernel's
memory killer), stands still, or outgrows its memory costs its video one attempt, not the batch. Workers end
with the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.batch.events import Event, run_item
from apps.batch.item import Item
from vis.errors import OutputError, VisError

if TYPE_CHECKING:
    from apps.batch.work import Settings

__all__ = ["Limits", "run_local"]

POLL_SECONDS = 0.25
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a worker is given up."""

    attempts: int = 2
    """How often a video may lose its worker before it counts as failed."""
    stall_seconds: float = 600.0
    """Longest time without a finished frame."""
    video_seconds: float | None = None
    """Longest time for a whole video; None: any."""
    memory_bytes: int | None = None
    """Largest resident memory of a worker; None: any."""


@dataclass(slots=True)
class _Process:
    """A worker as its parent sees it."""

    name: str
    process: Any
    pipe: Connection
    item: int | None = None
    begun: float = 0.0
    heard: float = field(default_factory=time.monotonic)


def run_local(items: Sequence[Item], settings: Settings, *, jobs: int, limits: Limits) -> Iterator[Event]:
    """Do all items with ``jobs`` worker processes; yields what happens, as it happens.

    Raises the error of a worker that concerns all videos: missing weights, a full disk. Closing the
    generator ends the workers; what they have saved stays.
    """
    waiting = deque(range(len(items)))
    attempts = [0] * len(items)
    workers = [_start(settings, number) for number in range(max(1, min(jobs, len(items))))]
    try:
        while waiting or any(worker.item is not None for worker in workers):
            for worker in workers:
                if worker.item is None and waiting:
                    yield _give(worker, waiting.popleft(), items)
            ready = wait([worker.pipe for worker in workers], timeout=POLL_SECONDS)
            for place, worker in enumerate(workers):
                lost = None
                if worker.pipe in ready:
                    try:
                        yield from _hear(worker)
                        continue
                    except (EOFError, ConnectionError, OSError):
                        lost = _death(worker)
                lost = lost or _overdue(worker, limits)
                if lost is None:
                    continue
                item = worker.item
                _end(worker)
                workers[place] = _start(settings, place)
                if item is None:
                    continue
                attempts[item] += 1
                if attempts[item] < limits.attempts and lost["error"] == "WorkerLost":
                    waiting.appendleft(item)
                else:
                    yield Event("failed", item, worker.name, {**lost, "attempts": attempts[item]})
    finally:
        for worker in workers:
            _end(worker)


def _start(settings: Settings, number: int) -> _Process:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    # Numeric libraries read these when they are imported, which is before our first line there.
    old = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(settings.threads)))
    try:
        process = context.Process(
            target=_serve, args=(settings, there), name=f"vistubes-{number}", daemon=True
        )
        process.start()
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    there.close()
    return _Process(str(number), process, here)


def _give(worker: _Process, item: int, items: Sequence[Item]) -> Event:
    worker.item, worker.begun, worker.heard = item, time.monotonic(), time.monotonic()
    # A worker that has just died is found out when its pipe is read.
    with contextlib.suppress(OSError):
        worker.pipe.send((item, items[item]))
    return Event("start", item, worker.name)


def _hear(worker: _Process) -> Iterator[Event]:
    kind, item, data = worker.pipe.recv()
    worker.heard = time.monotonic()
    if kind == "stop":
        raise data if isinstance(data, VisError) else OutputError(str(data))
    if kind in ("done", "failed"):
        worker.item = None
    if item is not None:
        yield Event(kind, item, worker.name, data)


def _death(worker: _Process) -> dict[str, Any]:
    worker.process.join(timeout=5)
    code = worker.process.exitcode
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        how += ", often the system's memory killer"
    return {"error": "WorkerLost", "message": f"the process that decoded this video died ({how})"}


def _overdue(worker: _Process, limits: Limits) -> dict[str, Any] | None:
    """Why the worker must go, or None."""
    if worker.item is None:
        return None
    now = time.monotonic()
    if now - worker.heard > limits.stall_seconds:
        return {
            "error": "Timeout",
            "message": f"no frame was finished in {limits.stall_seconds:.0f} s (--stall)",
        }
    if limits.video_seconds is not None and now - worker.begun > limits.video_seconds:
        return {"error": "Timeout", "message": f"took longer than {limits.video_seconds:.0f} s (--timeout)"}
    used = _resident_bytes(worker.process.pid)
    if limits.memory_bytes is not None and used > limits.memory_bytes:
        gib = limits.memory_bytes / 2**30
        return {
            "error": "Memory",
            "message": f"its worker took {used / 2**30:.1f} GiB, over {gib:.1f} GiB (--memory)",
        }
    return None


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _end(worker: _Process) -> None:
    worker.pipe.close()
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join(timeout=10)


# ---------------------------------------------------------------- in the worker's process


def _serve(settings: Settings, pipe: Connection) -> None:
    """Do the videos that come through the pipe until it closes."""
    # Ctrl-C goes to the whole terminal group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    from apps.batch.lock import acquire_as_worker

    acquire_as_worker(Path(settings.out))
    try:
        from apps.batch.work import Worker

        worker = Worker(settings)
    except Exception as error:
        # Models that do not load would not load for the next video either.
        pipe.send(
            ("stop", None, error if isinstance(error, VisError) else f"{type(error).__name__}: {error}")
        )
        return
    while True:
        try:
            number, item = pipe.recv()
        except (EOFError, OSError):
            return
        kind, data = run_item(worker, item, _progress_reporter(number, pipe))
        pipe.send((kind, number, data))


def _progress_reporter(number: int, pipe: Connection) -> Callable[[str, int, int | None], None]:
    """Passes progress on, a few times per second at most."""
    told = 0.0

    def report_progress(stage: str, frames: int, expected: int | None) -> None:
        nonlocal told
        if time.monotonic() - told > POLL_SECONDS:
            told = time.monotonic()
            pipe.send(("progress", number, {"stage": stage, "frames": frames, "expected": expected}))

    return report_progress


def _end_with_parent() -> None:
    """Leave at once when the parent is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="vistubes-parent", daemon=True).start()

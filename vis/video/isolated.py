"""Frames of a file that nobody trusts, decoded in a process of its own.

::

    this process                          the child (vis/video/isolated_worker.py)
    IsolatedReader  -- path, limits -->   opens the file under limits on memory and time
                    <-- VideoInfo ---
                    <-- frames ------     one message each: a line of JSON, then the pixels
                    <-- warnings, end, or an error

A crash, a hang or an appetite for memory of the decoder ends the child and becomes a :class:`VideoError`
that names the file. What the child says is parsed as JSON and checked, never unpickled. This keeps a faulty
decoder from taking the program along; it is no sandbox against a file that takes the decoder over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vis import errors
from vis.errors import VideoError, VisError, VisWarning
from vis.renamed import renamed_arguments
from vis.structures import Frame, VideoInfo
from vis.video.options import WEB_LIMITS, VideoLimits

__all__ = ["IsolatedReader"]

# Started without the environment's and the working folder's say in what is imported (-I).
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from vis.video.isolated_worker import serve; serve()"
)
# What a decoder may know of its surroundings; keys and tokens stay here.
_PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "LANG",
    "LC_ALL",
)
_SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_LINE_BYTES = 2**20
_POLL_SECONDS = 0.1


class IsolatedReader:
    """What :func:`vis.video.open_source` gives, decoded in a child process under limits.

    A frame source: ``info``, ``expected_frames``, iteration (each starts anew), with the same frames, times
    and warnings. ``options`` are those of ``open_source``. ``limits`` default to those for strangers' files.

    ``memory_bytes``: most address space of the child (Linux); by default 1 GiB and 64 bytes for each pixel
    that ``limits`` allow in a frame. ``frame_seconds``: longest wait for the next frame, the first one and the
    start included. ``cpu_seconds``: most CPU time of the child in all; None: any.

    Every failure of the child is a :class:`VideoError`. Close it, or use it in a ``with`` block: the child
    ends then, and at the latest with this process.
    """

    @renamed_arguments(processor_seconds="cpu_seconds")
    def __init__(
        self,
        path: str | Path,
        *,
        limits: VideoLimits = WEB_LIMITS,
        memory_bytes: int | None = None,
        frame_seconds: float = 30.0,
        cpu_seconds: float | None = None,
        **options: Any,
    ) -> None:
        self.path = Path(path)
        self.frame_seconds = frame_seconds
        self.cpu_seconds = cpu_seconds
        self.memory_bytes = memory_bytes or 2**30 + 64 * limits.pixels_per_frame
        self._request = {
            "path": str(path),
            "options": options,
            "limits": asdict(limits),
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": cpu_seconds,
        }
        self._told: set[str] = set()
        self._child: _Child | None = None
        self._info, self._expected = self._start()

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        return self._info

    @property
    def expected_frames(self) -> int | None:
        """About how many frames an iteration gives; None when the container is silent."""
        return self._expected

    def __iter__(self) -> Iterator[Frame]:
        if self._child is None:
            self._start()
        child, self._child = self._child, None  # an iteration inside this one gets a child of its own
        assert child is not None  # _start made it
        whole = False
        try:
            child.ask({"go": True})
            while (message := self._hear(child))["kind"] == "frame":
                yield self._frame(child, message)
            whole = message["kind"] == "end"
        finally:
            # Left in the middle: the child is busy with frames that nobody wants any more.
            if whole and self._child is None:
                self._child = child
            else:
                child.end()

    def close(self) -> None:
        """End the child. Iterating again starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return f"IsolatedReader({str(self.path)!r}, {self._info.width}x{self._info.height})"

    def _start(self) -> tuple[VideoInfo, int | None]:
        child = _Child()
        try:
            child.ask(self._request)
            message = self._hear(child)
            try:
                info = VideoInfo(**message["info"])
                expected = message["expected"]
            except (KeyError, TypeError, ValueError) as error:
                raise self._nonsense() from error
        except BaseException:
            child.end()
            raise
        self._child = child
        return info, expected if isinstance(expected, int) else None

    def _hear(self, child: _Child) -> dict[str, Any]:
        """The next message that is no warning; the child's error is raised, its end told as one."""
        while True:
            with child.deadline(self.frame_seconds):
                line = child.output.readline(_LINE_BYTES)
            if not line.endswith(b"\n"):
                raise self._death(child)
            try:
                message = json.loads(line)
                kind = message["kind"]
                if kind == "warning":
                    self._warn(str(message["message"]), str(message["class"]))
                    continue
                if kind == "error":
                    raise _error(str(message["class"]), str(message["message"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise self._nonsense() from error
            if kind not in ("info", "frame", "end"):
                raise self._nonsense()
            return dict(message)

    def _frame(self, child: _Child, message: dict[str, Any]) -> Frame:
        image = np.empty((*self._info.size, 3), np.uint8)
        rest = image.data.cast("B")
        with child.deadline(self.frame_seconds):
            while rest and (count := child.output.readinto(rest)):
                rest = rest[count:]
        if rest:
            raise self._death(child)
        try:
            return Frame(int(message["index"]), float(message["pts_seconds"]), image)
        except (KeyError, TypeError, ValueError) as error:
            raise self._nonsense() from error

    def _warn(self, text: str, name: str) -> None:
        """Warn once per reader, as the reader in the child would."""
        kind = getattr(errors, name, VisWarning)
        if not (isinstance(kind, type) and issubclass(kind, VisWarning)):
            kind = VisWarning
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, kind, stacklevel=4)

    def _death(self, child: _Child) -> VideoError:
        """Why the child is gone, in one sentence."""
        code = child.end(patience_seconds=2.0)  # its output has ended: a moment more, and its code tells why
        if child.overdue:
            why = f"gave no frame for {self.frame_seconds:g} s"
        elif code == -getattr(signal, "SIGXCPU", 24) and self.cpu_seconds is not None:
            why = f"took more than {self.cpu_seconds:g} s of CPU time"
        else:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            why = f"broke the process that decoded it ({how})"
        return VideoError(
            f"{self.path}: {why}; the file is damaged or made to do harm. Convert it with FFmpeg where that is safe, "
            "or leave it out"
        )

    def _nonsense(self) -> VideoError:
        return VideoError(
            f"{self.path}: the process that decoded it answered nonsense; the file may be made to do harm"
        )


class _Child:
    """The decoding process: its pipes, its deadline and its end."""

    def __init__(self) -> None:
        surroundings = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                _START,
                json.dumps([entry or str(Path.cwd()) for entry in sys.path]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**surroundings, **_SETTINGS},
            pipesize=2**20 if sys.platform == "linux" else -1,
        )
        assert self._process.stdout is not None  # asked for above
        self.output: Any = self._process.stdout
        self.overdue = False
        self._until: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="vis-decoder-watch", daemon=True).start()

    def ask(self, message: dict[str, Any]) -> None:
        """Send one line; that the child is gone is found out when it is heard."""
        assert self._process.stdin is not None  # asked for above
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Kill the child when the block takes longer: whoever reads from it then meets the end."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = None

    def end(self, *, patience_seconds: float = 0.0) -> int:
        """Kill it if it still runs after ``patience_seconds``; its exit code."""
        self._ended.set()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_seconds)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return self._process.returncode

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            until = self._until
            if until is not None and time.monotonic() > until:
                self.overdue = True
                self._process.kill()
                return


def _error(name: str, message: str) -> VisError:
    """An error of ours by its name; any other name is a video error."""
    kind = getattr(errors, name, VideoError)
    known = isinstance(kind, type) and issubclass(kind, VisError)
    return kind(message) if known else VideoError(message)

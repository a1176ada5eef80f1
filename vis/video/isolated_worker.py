"""The child of :class:`vis.video.isolated.IsolatedReader`: opens one file and sends its frames.

Talks by lines of JSON on its standard input and output; a frame's line is followed by its pixels. Ends when
its input does, which is when its parent has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import warnings
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

import numpy as np

from vis.errors import VideoError, VisError, VisWarning
from vis.video.options import VideoLimits
from vis.video.source import open_source

__all__ = ["serve"]


def serve() -> None:
    """Answer the request on standard input; ends the process."""
    # Whatever a library prints goes nowhere: this pipe carries frames.
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    asked = _requests()
    request = asked.get()
    _limit(request["memory_bytes"], request["cpu_seconds"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", VisWarning)
            warnings.showwarning = lambda message, category, *_, **__: _warning(pipe, message, category)
            _answer(pipe, request, asked)
    except VisError as error:
        _send(pipe, {"kind": "error", "class": type(error).__name__, "message": str(error)})
    except MemoryError:
        limit = request["memory_bytes"] / 2**30
        said = f"{request['path']}: needs more than {limit:.1f} GiB of memory to decode; scale the video down first"
        _send(pipe, {"kind": "error", "class": VideoError.__name__, "message": said})
    except Exception as error:
        said = f"{request['path']}: does not decode ({type(error).__name__}: {error})"
        _send(pipe, {"kind": "error", "class": VideoError.__name__, "message": said})
    finally:
        # The thread that waits for requests would not let the interpreter go in peace.
        os._exit(0)


def _answer(pipe: Any, request: dict[str, Any], asked: SimpleQueue[Any]) -> None:
    source = open_source(request["path"], limits=VideoLimits(**request["limits"]), **request["options"])
    _send(pipe, {"kind": "info", "info": asdict(source.info), "expected": source.expected_frames})
    while asked.get():
        for frame in source:
            _send(pipe, {"kind": "frame", "index": frame.index, "pts_seconds": frame.pts_seconds})
            _write(pipe, np.ascontiguousarray(frame.image).data.cast("B"))
        _send(pipe, {"kind": "end"})


def _requests() -> SimpleQueue[Any]:
    """What comes in, read in a thread: when the parent is gone this process ends, busy or not."""
    asked: SimpleQueue[Any] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            asked.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, name="vis-parent", daemon=True).start()
    return asked


def _send(pipe: Any, message: dict[str, Any]) -> None:
    _write(pipe, memoryview(json.dumps(message).encode() + b"\n"))


def _write(pipe: Any, data: memoryview) -> None:
    try:
        while data:
            data = data[pipe.write(data) :]
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more


def _warning(pipe: Any, message: Warning | str, category: type[Warning]) -> None:
    if issubclass(category, VisWarning):
        _send(pipe, {"kind": "warning", "class": category.__name__, "message": str(message)})


def _limit(memory_bytes: int, cpu_seconds: float | None) -> None:
    """Let the system refuse memory, time and files beyond what decoding needs; where it has such limits."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):  # a hard limit that is lower already
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has no file to write
    if cpu_seconds is not None:
        seconds = max(1, round(cpu_seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))

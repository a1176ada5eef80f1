"""Working ahead in a thread, by a bounded number of items. Knows nothing of video."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")

# How often the thread, when nothing is taken from it, looks whether it should stop, in seconds.
_LOOK = 0.05


def prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield ``items`` in order while a thread makes up to ``depth`` of them in advance; 0: without a thread.

    An exception of ``items`` is raised here, after the items that came before it. Closing this
    generator (or leaving the loop over it) stops the thread and closes ``items`` before it returns.
    """
    if depth < 1:
        yield from items
        return
    # (item, None) or (None, error); (None, None) is the end.
    ready: Queue[tuple[T | None, BaseException | None]] = Queue(maxsize=depth)
    stop = threading.Event()

    def hand_over(entry: tuple[T | None, BaseException | None]) -> None:
        while not stop.is_set():
            with contextlib.suppress(Full):
                ready.put(entry, timeout=_LOOK)
                return

    def work() -> None:
        try:
            for item in items:
                hand_over((item, None))
                if stop.is_set():
                    return
            hand_over((None, None))
        except BaseException as error:
            hand_over((None, error))
        finally:
            # Generators release their file in the thread that used it.
            close = getattr(items, "close", None)
            if close is not None:
                close()

    # A daemon: a generator that nobody closes must not keep the interpreter from ending.
    thread = threading.Thread(target=work, name="vis-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join()

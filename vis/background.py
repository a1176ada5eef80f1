"""Work that a thread of its own does beside the caller's, in order: a bounded number of pieces ahead, or behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

__all__ = ["Background", "prefetch"]

T = TypeVar("T")

# How often a thread that waits for room looks whether the other has failed or stopped, in seconds.
_LOOK = 0.05


class Background(Generic[T]):
    """``work`` done on one item after the other, in the order of :meth:`put`, by a thread of its own.

    ::

        with Background(collector.add) as stage:
            for frame in frames:        # made here ...
                stage.put(frame)        # ... while the one before is worked on there

    At most ``depth`` items wait; ``put`` then waits for room. An exception of ``work`` is raised by the next ``put`` or
    at the end of the block; items after it are dropped. A block that is left by an exception drops what waits, and
    returns when the item in hand is done. It pays where ``work`` releases Python's lock, as video codecs, OpenCV and
    numpy do.
    """

    def __init__(self, work: Callable[[T], object], *, depth: int = 2) -> None:
        self.busy = 0.0
        """Seconds that the work took."""
        self.waiting = 0.0
        """Seconds that the thread stood still because there was nothing to do."""
        self.held_up = 0.0
        """Seconds that the caller waited for room."""
        self._work = work
        # One item in a list; an empty one is the end.
        self._items: Queue[list[T]] = Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._ended = False
        # A daemon: a stage that nobody ends must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name="vis-background", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand over one item, once there is room; raises what the work on an earlier one raised."""
        self._hand_over([item])
        self._raise()

    def finish(self) -> None:
        """Wait until all is done, and end the thread; raises what the work raised."""
        if not self._ended:
            self._ended = True
            self._hand_over([])
            self._thread.join()
        self._raise()

    def stop(self) -> None:
        """Drop what waits and end the thread; the item in hand is finished. Raises nothing."""
        self._ended = True
        while self._thread.is_alive():
            with contextlib.suppress(Empty):
                while True:
                    self._items.get_nowait()
            with contextlib.suppress(Full):
                self._items.put_nowait([])
            self._thread.join(_LOOK)

    def _hand_over(self, entry: list[T]) -> None:
        begun = time.perf_counter()
        while self._error is None:
            with contextlib.suppress(Full):
                self._items.put(entry, timeout=_LOOK)
                break
        self.held_up += time.perf_counter() - begun

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            idle = time.perf_counter()
            entry = self._items.get()
            begun = time.perf_counter()
            self.waiting += begun - idle
            if not entry:
                return
            try:
                self._work(entry.pop())
            except BaseException as error:
                self._error = error
                return
            finally:
                self.busy += time.perf_counter() - begun

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.stop()


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

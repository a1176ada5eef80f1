"""Pictures as they come: a camera or a stream that does not wait. What cannot be kept up with is dropped.

The latest picture is always the one that is looked at next; those that came meanwhile are counted, never
queued, so the answer is as fresh as the machine allows and memory does not grow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from vis.errors import UsageError
from vis.follow.engine import Interpolator, Propagator
from vis.follow.follower import DOUBT, ObjectState
from vis.follow.prompts import Prompt
from vis.renamed import renamed_arguments, renamed_names
from vis.structures import Frame

__all__ = ["LatestFrame", "follow_live"]


class LatestFrame:
    """Iterates over pictures that arrive at their own pace; gives the latest, and counts the others.

    Args:
        pictures: RGB uint8 (H, W, 3), read in a thread; its end ends the iteration.

    ``Frame.index`` counts what arrived, so gaps in it are dropped pictures; ``pts_seconds`` is the time of
    arrival since the first one.
    """

    def __init__(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self._ready = threading.Condition()
        self._slot: Frame | None = None
        self._ended = False
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self.arrived = 0
        """Pictures that came."""
        self.dropped = 0
        """Of these, pictures that nobody had time for."""

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._read, name="vis-live", daemon=True)
        thread.start()
        try:
            while True:
                with self._ready:
                    self._ready.wait_for(lambda: self._slot is not None or self._ended)
                    frame, self._slot = self._slot, None
                if frame is None:
                    if self._error is not None:
                        raise self._error
                    return
                yield frame
        finally:
            self._stopped.set()

    def _read(self) -> None:
        begin: float | None = None
        try:
            for image in self._pictures:
                now = time.monotonic()
                begin = now if begin is None else begin
                with self._ready:
                    self.dropped += self._slot is not None
                    self._slot = Frame(self.arrived, now - begin, image)
                    self.arrived += 1
                    self._ready.notify()
                if self._stopped.is_set():
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._ready:
                self._ended = True
                self._ready.notify()


@renamed_arguments(every="keyframe_interval")
def follow_live(
    frames: Iterable[Frame],
    follower: Propagator,
    prompts: Mapping[int, Prompt],
    *,
    keyframe_interval: int = 1,
) -> Iterator[tuple[Frame, tuple[ObjectState, ...]]]:
    """Follow from prompts on the first frame, each frame answered before the next is taken.

    With ``keyframe_interval`` above 1 the network looks at one frame in so many, and where motion is hard to tell; on
    the others objects are carried by motion alone.
    """
    between = follower if keyframe_interval > 1 else None
    if between is not None and not isinstance(between, Interpolator):
        raise UsageError(
            f"keyframe_interval {keyframe_interval}: this engine looks at every frame; leave it at 1 (--speed exact)"
        )
    since = 0
    for place, frame in enumerate(frames):
        if (
            between is not None
            and place
            and since + 1 < keyframe_interval
            and between.flow_step(frame.image) <= DOUBT
        ):
            since += 1
            yield frame, between.carried()
            continue
        since = 0
        embedding = follower.embed(frame.image)
        seen = follower.step(frame.image, embedding)
        if not place:
            seen = tuple(
                follower.start(object_id, frame.image, embedding, prompt)
                for object_id, prompt in prompts.items()
            )
        yield frame, seen


__getattr__ = renamed_names(__name__, Newest="LatestFrame")

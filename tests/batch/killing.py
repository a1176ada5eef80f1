"""A batch's worker that dies in the middle of a video."""

from __future__ import annotations

from typing import Any


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it and tidy up."""


def kill_after(count: int, *, what: str = "tubes") -> Any:
    """A ``tell`` that dies when the given number of chunks has been written, or of frames been drawn."""
    seen = 0

    def tell(stage: str, frames: int, expected: int | None) -> None:
        nonlocal seen
        seen += stage == what and frames > 0
        if seen == count:
            raise Killed

    return tell

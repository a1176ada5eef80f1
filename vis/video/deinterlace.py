"""Whole pictures from interlaced ones, whose odd and even lines show two moments. Knows no file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["deinterlaced", "is_available"]


def is_available() -> bool:
    """Whether this PyAV has the filter."""
    import av.filter

    return "bwdif" in av.filter.filters_available


def deinterlaced(pictures: Iterable[Any], stream: Any) -> Iterator[Any]:
    """As many pictures as come in, with their times; those flagged as interlaced by FFmpeg's bwdif.

    A picture depends on the one before and the one after it and on no other. A picture of another size ends the
    filter's work; it and all later ones pass as they are.
    """
    from av.error import FFmpegError

    graph: Any = None
    waiting: deque[Any] = deque()
    size = None
    for picture in pictures:
        if size not in (None, (picture.width, picture.height)):
            yield from _drained(graph, waiting)
            graph = None
        elif size is None:
            size = picture.width, picture.height
            graph = _graph(stream)
        if graph is None:
            yield picture
            continue
        waiting.append(picture)
        graph.push(picture)
        while True:
            try:
                whole = graph.pull()
            except (BlockingIOError, FFmpegError):
                break
            yield _timed(whole, waiting.popleft())
    if graph is not None:
        yield from _drained(graph, waiting)


def _graph(stream: Any) -> Any:
    import av.filter

    graph = av.filter.Graph()
    # One picture out for each one in; the order of the lines and which pictures need it are told by them.
    graph.link_nodes(
        graph.add_buffer(template=stream),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _drained(graph: Any, waiting: deque[Any]) -> Iterator[Any]:
    """What the filter still holds."""
    from av.error import FFmpegError

    graph.push(None)
    while waiting:
        try:
            whole = graph.pull()
        except (BlockingIOError, EOFError, FFmpegError):
            break
        yield _timed(whole, waiting.popleft())


def _timed(whole: Any, given: Any) -> Any:
    """The filter counts time in half ticks; the picture keeps its own."""
    whole.pts, whole.time_base = given.pts, given.time_base
    return whole

"""What the viewer and the timeline show, as plain JSON values. Knows no Gradio and no browser."""

from __future__ import annotations

import base64
import bisect
import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.demo import candidates
from apps.demo.model_cache import reader_of
from apps.demo.session import Session
from vis import masks as rle
from vis.pipeline import replay
from vis.render import Renderer, color_of, fitted
from vis.structures import Detections, Frame, TrackedFrame, Tube, VideoResult
from vis.tube_checks import collapsed_frames

__all__ = ["cache_frame", "data_url", "empty_view", "live_view", "row_of", "timeline", "view"]

Image = NDArray[np.uint8]
WIDEST, TALLEST = 1280, 2560
SHELF_FRAMES = 1000
SHELF_PIXELS = 1920 * 1080
LOW_SCORE = 0.5
JUMP_IOU = 0.35
JUMP_GROWTH = 1.8
TICK_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)


def view(session: Session, message: str = "", *, result: VideoResult | None = None) -> dict[str, Any]:
    """The frame that is shown, with its objects drawn on it; ``result``: another one than the visitor's."""
    if session.video is None or session.info is None:
        return empty_view(message)
    history = session.history
    if history is None:
        frame = reader_of(session)[min(session.position, len(reader_of(session)) - 1)]
        return _payload(
            session, frame, Detections.empty(), (), total=len(reader_of(session)), message=message
        )
    result = result or history.result
    frame = frame_at(session, result)
    tracked = next(replay([frame], result))
    return _payload(
        session, frame, tracked.detections, result.class_names, total=len(result.frames), message=message
    )


def live_view(
    session: Session, item: TrackedFrame, names: tuple[str, ...], done: int, total: int | None
) -> Any:
    """The frame that a run has just finished."""
    seen = _payload(
        session, item.frame, item.detections, names, total=total or done, message="", position=done - 1
    )
    return {**seen, "state": "running"}


def _all(session: Session) -> list[dict[str, Any]]:
    """Every object of the result, for choosing one."""
    if session.history is None:
        return []
    result = session.history.result
    return [
        {"id": tube.id, "label": result.class_names[tube.label], "color": _css(tube.id)}
        for tube in result.tubes
    ]


def empty_view(message: str = "") -> dict[str, Any]:
    """Nothing is open."""
    return {"src": "", "message": message, "total": 0, "all": [], "clicks": [], "state": "empty"}


def _payload(
    session: Session,
    frame: Frame,
    found: Detections,
    names: tuple[str, ...],
    *,
    total: int,
    message: str,
    position: int | None = None,
) -> dict[str, Any]:
    clicks: list[list[float]] = []
    if session.clicks is not None and session.clicks[1] == frame.index:
        clicks = session.clicks[2]
    history = session.history
    return {
        "src": data_url(Renderer(names).draw(frame.image, found)),
        "frame": frame.index,
        "pts": round(frame.pts_seconds, 3),
        "position": session.position if position is None else position,
        "total": total,
        "width": frame.size[1],
        "height": frame.size[0],
        "all": _all(session),
        "selected": session.selected,
        "clicks": clicks,
        "candidate": candidates.label(session),
        "fps": session.info.fps if session.info is not None else None,
        "done": history is not None,
        "state": "open" if history is None else "done",
        "edits": 0 if history is None else len(history.edits),
        "undone": 0 if history is None else len(history.undone),
        "message": message,
    }


def frame_at(session: Session, result: VideoResult) -> Frame:
    """The processed frame that is shown: from the shelf, else decoded. For the eye, not for networks."""
    session.position = min(max(0, session.position), len(result.frames) - 1)
    index = int(result.frames[session.position])
    pts = float(result.pts_seconds[session.position])
    shelved = session.shelf / f"{index}.jpg"
    if shelved.is_file():
        import cv2

        image = cv2.imdecode(np.fromfile(shelved, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is not None:
            return Frame(index, pts, np.asarray(image, np.uint8))
    frame: Frame = reader_of(session)[index]
    return frame


def cache_frame(session: Session, frame: Frame, place: int) -> None:
    """Keep a processed frame as JPEG: going back to it costs milliseconds instead of a seek.

    ``place`` is its position in the run. Large frames, and those after the first thousand, are not kept:
    a visitor's folder stays under some hundred megabytes.
    """
    if place < SHELF_FRAMES and frame.size[0] * frame.size[1] <= SHELF_PIXELS:
        file = session.shelf / f"{frame.index}.jpg"
        try:
            session.shelf.mkdir(exist_ok=True)
            file.write_bytes(jpeg(frame.image, quality=92))
        except OSError:  # a full disk costs quickness, not the run
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def jpeg(image: Image, *, quality: int = 85) -> bytes:
    """JPEG bytes of an RGB picture."""
    import cv2

    ok, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return bytes(data)


def data_url(image: Image) -> str:
    """The picture inside of the address: no file that another visitor could ask for."""
    import cv2

    height, width = fitted(image.shape[:2], TALLEST, WIDEST, enlarge=False)
    if (height, width) != image.shape[:2]:
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()


# ---------------------------------------------------------------- timeline


def timeline(session: Session, result: VideoResult | None = None, total: int | None = None) -> dict[str, Any]:
    """One row per object. Positions count processed frames; ``total`` of them make the whole width."""
    if result is None and session.history is not None:
        result = session.history.result
    if result is None:
        return {"rows": [], "total": 0, "position": 0, "ticks": [], "none": ""}
    place = {int(frame): position for position, frame in enumerate(result.frames)}
    prompted: dict[int, list[int]] = {}
    for edit in session.history.edits if session.history is not None else ():
        frame = getattr(edit, "frame", None)
        if frame in place:
            prompted.setdefault(edit.tube, []).append(place[frame])
    rows = []
    for tube in result.tubes:
        cached = session.row_cache.get(tube.id)
        if cached is None or cached[0] is not tube:
            cached = session.row_cache[tube.id] = (tube, row_of(tube, place))
        row = {**cached[1], "label": result.class_names[tube.label], "color": _css(tube.id)}
        rows.append({**row, "prompts": sorted(set(prompted.get(tube.id, [])))})
    return {
        "rows": rows,
        "total": total or len(result.frames),
        "position": session.position,
        "ticks": [] if total and total != len(result.frames) else ticks(result.pts_seconds.tolist()),
        "selected": session.selected,
        "none": _no_rows(session),
    }


def _no_rows(session: Session) -> str:
    """What stands in place of the rows where a result has none."""
    if session.history is None:
        return "No object yet."
    if session.by_hand:
        return "No object yet: nothing was looked for. Choose “New object” above, then click on one."
    return (
        "No object here yet. Choose “New object” above and click on one, or run again with another detector."
    )


def ticks(seconds: list[float], most: int = 9) -> list[list[Any]]:
    """[position, text] of moments for a ruler: the first and last frame, and round seconds between them.

    A round second may lie between two frames; its position is a fraction then.
    """
    if not seconds:
        return []
    length = seconds[-1] - seconds[0]
    step = next((s for s in TICK_SECONDS if length / s <= most), TICK_SECONDS[-1])
    marks = [[0, f"{seconds[0]:.4g} s"]]
    moment = (seconds[0] // step + 1) * step
    # None so near to an end that the two texts would touch.
    while moment < seconds[-1] - 0.75 * step and len(marks) < 100:
        if moment > seconds[0] + step / 2:
            after = bisect.bisect_left(seconds, moment)
            gap = seconds[after] - seconds[after - 1]
            marks.append([round(after - (seconds[after] - moment) / gap, 3), f"{moment:g} s"])
        moment += step
    if len(seconds) > 1:
        marks.append([len(seconds) - 1, f"{seconds[-1]:.2f} s"])
    return marks


def row_of(tube: Tube, place: dict[int, int]) -> dict[str, Any]:
    """Where a tube is, is unsure, and jumps.

    ``bars``: [first, last, mean score] of each unbroken stretch; ``low``: [first, last] where the score
    is under one half, or the mask has fallen to a part of the object; ``jumps``: positions whose mask shares
    little with the one before it, or is much larger or smaller.
    """
    positions = np.array([place[frame] for frame in tube.frames.tolist()])
    breaks = np.flatnonzero(np.diff(positions) > 1) + 1
    bars = [
        [int(part[0]), int(part[-1]), round(float(score.mean()), 3)]
        for part, score in zip(np.split(positions, breaks), np.split(tube.scores, breaks), strict=True)
    ]
    doubtful = tube.scores < LOW_SCORE
    if tube.masks is not None:
        fallen = collapsed_frames(tube, np.array(sorted(place)), tube.masks[0].size)
        doubtful |= np.isin(tube.frames, fallen)
    unsure = positions[doubtful]
    low = [
        [int(part[0]), int(part[-1])]
        for part in np.split(unsure, np.flatnonzero(np.diff(unsure) > 1) + 1)
        if len(part)
    ]
    jumps = [int(positions[row]) for row in range(1, len(tube)) if _jumps(tube, row, positions)]
    return {"id": tube.id, "score": round(tube.score, 3), "bars": bars, "low": low, "jumps": jumps}


def _jumps(tube: Tube, row: int, positions: NDArray[np.int64]) -> bool:
    if tube.masks is None or positions[row] - positions[row - 1] > 1:
        return False
    before, after = tube.masks[row - 1], tube.masks[row]
    areas = sorted((rle.area(before), rle.area(after)))
    if areas[0] == 0:
        return areas[1] > 0
    return areas[1] > JUMP_GROWTH * areas[0] or rle.iou(before, after) < JUMP_IOU


def _css(number: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color_of(number))

"""``vistubes follow --live``: a camera, a pipe or a stream, answered as fast as the machine allows."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apps import follow_prompts
from apps.follow_job import Following
from apps.follow_prompts import FollowedFrames, Given
from apps.run_folder import Output, new_run_folder
from vis.errors import UsageError, VideoError

if TYPE_CHECKING:
    from vis.follow import ObjectState
    from vis.follow.live import LatestFrame
    from vis.pipeline import TubeCollector
    from vis.structures import Frame, TrackedFrame

__all__ = ["pictures", "run_live"]


@dataclass(slots=True)
class _Answers:
    """What was followed, and why it ended."""

    collector: TubeCollector
    labels: Mapping[int, int]
    """Object id -> label."""
    count: int = 0
    """Frames."""
    failure: VideoError | None = None
    gone: BrokenPipeError | None = None


def run_live(
    following: Following, given: Sequence[Given], source: str, output: Output, *, end: str | None = None
) -> int:
    """Follow until the stream ends or breaks, ``end`` is reached, or Ctrl-C; then write what was followed.

    ``source``: as :func:`pictures` takes it. ``end``: a frame ("240") or time ("9s"). Gives the exit code.
    """
    from apps.report import write_record, write_results
    from vis.follow import SPEEDS
    from vis.follow.live import LatestFrame, follow_live
    from vis.pipeline import TubeCollector
    from vis.structures import VideoInfo

    if any(item.kind == "text" for item in given):
        raise UsageError("--live takes points, boxes and masks on its first frame; --text needs a video")
    engine = following.load()
    latest = LatestFrame(pictures(source))
    frames = iter(latest)
    first = next(frames, None)
    if first is None:
        raise VideoError(f"{source}: not one picture came")
    info = VideoInfo("live", first.size[0], first.size[1])
    first_frame = FollowedFrames(0, 1, 1, lambda _: 0)
    request = follow_prompts.build_request(given, info, first_frame, find=lambda *_: [])
    request = follow_prompts.labelled(request, following.labels)
    prompts = {object_id: at[0] for object_id, at in request.prompts.items()}
    names = follow_prompts.class_names(request)
    answers = _Answers(
        TubeCollector(info, names), {n: names.index(name) for n, name in request.labels.items()}
    )
    begin = time.monotonic()
    stream = follow_live(
        _of_one_size(itertools.chain([first], frames), source),
        engine.propagator(),
        prompts,
        keyframe_interval=SPEEDS[following.speed],
    )
    _answer(stream, answers, end, (lambda: latest.dropped) if output.json else None)
    record = following.record(given) | _counts(answers, latest, time.monotonic() - begin)
    out = output.folder or Path("runs") / "live"
    with new_run_folder(out, overwrite=output.overwrite) as folder:
        made_with = {key: record[key] for key in ("program", "options")}
        write_results(folder.part, answers.collector.result(made_with=made_with))
        write_record(folder.part, record)
    if answers.failure is not None:
        print(
            f"vistubes: error: {answers.failure}. The {answers.count} pictures answered before it are in {folder.out}/",
            file=sys.stderr,
        )
    if not output.quiet:
        print(
            f"{answers.count} of {latest.arrived} pictures answered, {latest.dropped} dropped, "
            f"{record['frames_per_second']} per second; written to {folder.out}/",
            file=sys.stderr,
        )
    if answers.gone is not None:
        raise answers.gone
    return 0 if answers.failure is None else 1


def _answer(
    stream: Iterable[tuple[Frame, tuple[ObjectState, ...]]],
    answers: _Answers,
    end: str | None,
    dropped: Callable[[], int] | None,
) -> None:
    """Collect each frame as it is followed, up to ``end``; with ``dropped``, print it as JSON with that number."""
    from apps.option_types import read_moment

    last, seconds = (None, None) if end is None else read_moment(end)
    try:
        for frame, seen in stream:
            answers.collector.add(_tracked(frame, seen, answers.labels))
            answers.count += 1
            if dropped is not None:
                print(json.dumps(_line(frame, seen, dropped())), flush=True)
            past = seconds is not None and frame.pts_seconds >= seconds
            if past or (last is not None and frame.index + 1 >= last):
                return
    except KeyboardInterrupt:
        print("\nvistubes: stopped; writing what was followed", file=sys.stderr)
    except BrokenPipeError as error:
        answers.gone = error  # whoever read the lines has enough of them
    except VideoError as error:
        if not answers.count:
            raise
        answers.failure = error


def _counts(answers: _Answers, latest: LatestFrame, seconds: float) -> dict[str, Any]:
    """What the run record says of the stream."""
    record: dict[str, Any] = {
        "live": {"arrived": latest.arrived, "answered": answers.count, "dropped": latest.dropped},
        "seconds": round(seconds, 3),
        "frames_per_second": round(answers.count / max(seconds, 1e-6), 3),
    }
    if answers.failure is not None:
        record["partial"] = {"frames": answers.count, "of": None, "reason": str(answers.failure)}
    return record


def _of_one_size(frames: Iterable[Frame], source: str) -> Iterator[Frame]:
    """The frames; :class:`VideoError` where one has another size than the first."""
    size: tuple[int, int] | None = None
    for frame in frames:
        size = size or frame.size
        if frame.size != size:
            raise VideoError(
                f"{source}: picture {frame.index} is {frame.size[1]}x{frame.size[0]} pixels where those before it are "
                f"{size[1]}x{size[0]}; start again for the new size"
            )
        yield frame


def pictures(source: str) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures of a camera (its number), of stdin ('-'), or of a file, pipe or address.

    A file is read at its own pace, as if it were filmed now.
    """
    if re.fullmatch("[0-9]{1,4}", source):
        yield from _camera(int(source))
        return
    if Path(source).is_file():
        yield from _filmed_now(source)
        return
    import av
    from av.error import FFmpegError

    try:
        with av.open(sys.stdin.buffer if source == "-" else source, mode="r") as container:
            if not container.streams.video:
                raise VideoError(f"{source}: holds no video stream")
            for frame in container.decode(container.streams.video[0]):
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{source}: cannot be read as a video stream ({error})") from error


def _filmed_now(path: str) -> Iterator[NDArray[np.uint8]]:
    from vis.video import VideoReader

    begin: float | None = None
    for frame in VideoReader(path):
        now = time.monotonic()
        begin = now - frame.pts_seconds if begin is None else begin
        time.sleep(max(0.0, begin + frame.pts_seconds - now))
        yield frame.image


def _camera(number: int) -> Iterator[NDArray[np.uint8]]:
    import cv2

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise VideoError(f"camera {number} does not open; is it there, and is nobody else using it?")
        while True:
            more, image = camera.read()
            if not more:
                return
            yield np.ascontiguousarray(image[..., ::-1])
    finally:
        camera.release()


def _tracked(frame: Frame, seen: tuple[ObjectState, ...], labels: Mapping[int, int]) -> TrackedFrame:
    from vis.structures import Detections, TrackedFrame

    shown = [item for item in seen if not item.lost]
    found = Detections(
        boxes=np.array([item.box for item in shown], np.float32).reshape(-1, 4),
        scores=np.array([item.score for item in shown], np.float32),
        labels=np.array([labels.get(item.object_id, 0) for item in shown], np.int64),
        masks=np.array([item.mask for item in shown], np.bool_).reshape(-1, *frame.size),
        track_ids=np.array([item.object_id for item in shown], np.int64),
    )
    return TrackedFrame(frame, found)


def _line(frame: Frame, seen: tuple[ObjectState, ...], dropped: int) -> dict[str, Any]:
    """One answer as plain JSON values."""
    from vis import masks

    return {
        "frame": frame.index,
        "pts_seconds": round(frame.pts_seconds, 4),
        "dropped": dropped,
        "objects": [
            {
                "id": item.object_id,
                "lost": item.lost,
                "score": round(item.score, 4),
                "box": [float(value) for value in item.box],
                "mask": masks.to_coco(masks.encode(item.mask)),
            }
            for item in seen
        ],
    }

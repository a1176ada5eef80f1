"""Frames by index: in whatever order they are asked for, they are those of the stream, to the bit."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vis.errors import UsageError, VideoError
from vis.video import RandomAccessReader, VideoReader, open_source

# What is known to make seeking, counting, times or colours go wrong: how it is made, and how its frames are found.
CLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "closed groups": ({"options": {"g": "12", "crf": "10"}}, "seek"),
    "matroska": ({"name": "c.mkv", "options": {"g": "12", "crf": "10"}}, "seek"),
    "key frames closer than the reordering": ({"options": {"g": "2", "bf": "3", "crf": "10"}}, "seek"),
    "open groups": (
        {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12", "crf": "10"}},
        "seek",
    ),
    "open groups by default": (
        {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=error"}},
        "seek",
    ),
    "webm": (
        {
            "name": "c.webm",
            "codec": "libvpx-vp9",
            "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"},
        },
        "seek",
    ),
    "ten bits": ({"pix_fmt": "yuv420p10le", "options": {"g": "12"}}, "seek"),
    "four colours for each pixel": ({"pix_fmt": "yuv444p", "options": {"g": "12"}}, "seek"),
    "very narrow": ({"size": (64, 16), "options": {"g": "12"}}, "seek"),
    "uneven times": ({"ticks": [n * n * 7 for n in range(40)]}, "seek"),
    "begins late": ({"name": "c.mkv", "ticks": [3000 + 40 * n for n in range(40)]}, "seek"),
    "one frame in 200 seconds": ({"name": "c.mkv", "rate": Fraction(1, 200)}, "seek"),
    "5000 frames per second": ({"rate": Fraction(5000)}, "seek"),
    "5000 in a clock of milliseconds": ({"name": "c.mkv", "rate": Fraction(5000)}, "count"),
    "equal stamps": ({"name": "c.mkv", "ticks": [n // 3 for n in range(40)]}, "count"),
    "transport stream": ({"name": "c.ts", "options": {"g": "12", "crf": "10"}}, "count"),
    "avi with reordered frames": (
        {"name": "c.avi", "codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
        "count",
    ),
    "frames that are never shown": (
        {
            "name": "c.webm",
            "codec": "libvpx",
            "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12"},
        },
        "count",
    ),
    "bare stream": ({"name": "c.h264", "options": {"g": "12"}}, "count"),
}


def assert_equal(ours, theirs):
    assert (ours.index, ours.pts_seconds) == (theirs.index, theirs.pts_seconds)
    np.testing.assert_array_equal(ours.image, theirs.image)


@pytest.mark.parametrize("case", CLIPS)
def test_every_way_to_a_frame_gives_the_streams(make_clip, case):
    how, way = CLIPS[case]
    clip = make_clip(frames=40, **how)
    streamed = list(VideoReader(clip))
    assert [frame.index for frame in streamed] == list(range(40))
    times = [frame.pts_seconds for frame in streamed]
    assert times == sorted(set(times))
    duration = VideoReader(clip).info.duration_seconds or math.inf
    for start in (1, 11, 12, 25, 39):
        ways = [VideoReader(clip, start_frame=start, end_frame=start + 2)]
        if times[start] < duration:  # stamps that repeat are spread beyond what the container says
            ways.append(VideoReader(clip, start_seconds=times[start] - 1e-5, end_frame=start + 2))
        for source in ways:
            for ours, theirs in zip(source, streamed[start : start + 2], strict=True):
                assert_equal(ours, theirs)
    with RandomAccessReader(clip) as reader:
        assert type(reader._frames).__name__ == {"seek": "SeekingFrames", "count": "SequentialFrames"}[way]
        assert (reader.backend, len(reader), reader.info) == ("pyav", 40, VideoReader(clip).info)
        for index in [39, 0, 25, 26, 27, 12, 11, 11, 10, 9, 30, 1, *range(0, 40, 3)]:
            assert_equal(reader[index], streamed[index])
        with pytest.raises(IndexError, match="frame 40 of 40; expected 0 to 39"):
            reader[40]
        for index in (0, 20, 39):
            assert reader.index_at(times[index] + 1e-5) == index
        assert (reader.index_at(-1.0), reader.index_at(1e6)) == (0, 39)


def patched_clusters(path: Path, change) -> Path:
    """A Matroska file whose clusters begin at ``change(number, milliseconds)``."""
    data, at, number = bytearray(path.read_bytes()), 0, 0
    while (at := data.find(b"\x1f\x43\xb6\x75", at)) >= 0:
        place = data.index(b"\xe7", at + 4, at + 20) + 2  # the cluster's time, after its id and size
        size = data[place - 1] & 0x7F
        old = int.from_bytes(data[place : place + size], "big")
        data[place : place + size] = change(number, old).to_bytes(size, "big")
        number, at = number + 1, at + 4
    assert number > 2
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("frames_between", ["0", "2"])
@pytest.mark.parametrize(
    ("change", "gap"),
    [
        (lambda number, old: old if number < 2 else old - 640, 1 / 30),  # a second stream was joined on
        (lambda number, old: 0 if number == 1 else old, None),  # one cluster is wrong
    ],
)
def test_stamps_that_fall_back_lose_no_frame(make_clip, read_index, change, gap, frames_between):
    options = {"g": "10", "bf": frames_between, "crf": "10"}
    clip = make_clip("c.mkv", frames=40, options=options, movflags="", cluster_milliseconds=300)
    patched_clusters(clip, change)
    streamed = list(VideoReader(clip, strict=True))
    assert [read_index(frame.image) for frame in streamed] == list(range(40))
    times = np.array([frame.pts_seconds for frame in streamed])
    assert (np.diff(times) > 0).all()
    if gap is not None:  # time goes on by the step that it had
        np.testing.assert_allclose(np.diff(times), gap, atol=1.1e-3)
    for ours, theirs in zip(VideoReader(clip, start_frame=25), streamed[25:], strict=True):
        assert_equal(ours, theirs)
    with RandomAccessReader(clip) as reader:
        for index in (39, 0, 21, 20, 19, 33):
            assert_equal(reader[index], streamed[index])


def test_stepping_back_decodes_each_group_once(make_clip, monkeypatch):
    clip = make_clip(frames=40)
    with RandomAccessReader(clip) as reader:
        asked = []
        original = reader._frames.image
        monkeypatch.setattr(reader._frames, "image", lambda index: asked.append(index) or original(index))
        for index in range(39, 19, -1):
            assert reader[index].index == index
        assert sorted(set(asked)) == sorted(asked)
        assert asked[:3] == [39, 23, 24]
        assert len(reader._kept) == 16


def test_a_turned_variable_clip(make_clip, turn, read_index):
    ticks = [0, 40, 80, 300, 340, 700]
    clip = turn(make_clip(frames=6, ticks=ticks), 180)
    with RandomAccessReader(clip) as reader:
        images = {index: reader[index] for index in (5, 2, 0)}
        assert [images[i].pts_seconds for i in (0, 2, 5)] == [0.0, 0.08, 0.7]
        assert [read_index(np.rot90(images[i].image, 2)) for i in (0, 2, 5)] == [0, 2, 5]


def test_readers_are_chosen_by_name_only(make_clip):
    clip = make_clip()
    with RandomAccessReader(clip) as reader:
        assert reader.backend == "pyav"
    for opened in (RandomAccessReader, open_source):
        with pytest.raises(UsageError, match=r"reader 'opencv' is unknown; choose one of pyav, decord"):
            opened(clip, reader="opencv")


def test_decord_gives_the_same_frames(make_clip):
    clip = make_clip(frames=40, options={"g": "12"})
    streamed = list(VideoReader(clip))
    with RandomAccessReader(clip, reader="decord") as reader:
        assert reader.backend == "decord"
        for index in (39, 0, 25, 12, 11):
            assert_equal(reader[index], streamed[index])
    source = open_source(clip, reader="decord", start_frame=5, end_seconds=1.0, stride=6)
    assert (source.info, source.expected_frames) == (VideoReader(clip).info, 5)
    for _ in range(2):
        for ours, theirs in zip(source, streamed[5:30:6], strict=True):
            assert_equal(ours, theirs)


REFUSED = {
    "ten bits": ({"pix_fmt": "yuv420p10le"}, "it has 10 bits"),
    "narrow": ({"size": (64, 16)}, "its picture of frame 0 is another than FFmpeg's"),
    "open groups": (
        {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12"}},
        "its groups of pictures are open",
    ),
    "transport stream": ({"name": "c.ts"}, "this container cannot be sought exactly"),
    "equal stamps": ({"name": "c.mkv", "ticks": [n // 3 for n in range(30)]}, "time stamps repeat"),
}


@pytest.mark.parametrize("case", [*REFUSED, "rotated", "damaged"])
def test_decord_is_refused_where_it_is_wrong(make_clip, turn, case):
    how, why = REFUSED.get(case, ({"movflags": "faststart"}, ""))
    clip = make_clip(frames=30, **how)
    if case == "rotated":
        turn(clip, 90)
        why = "it is rotated"
    elif case == "damaged":
        clip.write_bytes(clip.read_bytes()[:-300])
        why = "of 30 frames decode"
    for opened in (RandomAccessReader, open_source):
        with pytest.raises(VideoError, match=rf"{clip.name}: .*{why}"):
            opened(clip, reader="decord")


def test_decord_reads_no_images(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(UsageError, match="reader 'decord' is for video files, and these are images"):
        open_source(tmp_path, reader="decord")


def test_two_pictures_in_one_file_are_no_work_for_decord(tmp_path, picture):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mjpeg", rate=10) for _ in range(2)]
        for stream, width in zip(streams, (160, 320), strict=True):
            stream.height, stream.width, stream.pix_fmt = 120, width, "yuvj420p"
        for index in range(4):
            for stream in streams:
                shown = av.VideoFrame.from_ndarray(picture(index, 120, stream.width), format="rgb24")
                shown.pts, shown.time_base = index, Fraction(1, 10)
                container.mux(stream.encode(shown))
    with pytest.raises(VideoError, match="it has several pictures"):
        open_source(path, reader="decord")

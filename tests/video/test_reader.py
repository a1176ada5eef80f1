"""Reading healthy files: every frame, once, in order, at its time, upright."""

from __future__ import annotations

import gc
import threading
from fractions import Fraction

import numpy as np
import pytest

from vis.errors import UsageError, VideoError
from vis.interfaces import FrameSource
from vis.video import RandomAccessReader, VideoReader, open_source, probe

SHARED_CLIPS = {
    "01_dog.mp4": (720, 1280, 289, 30000 / 1001),
    "02_cups.mp4": (720, 1280, 300, 30000 / 1001),
    "05_default_juggle.mp4": (720, 1280, 247, 24.0),
    "bedroom.mp4": (540, 960, 200, 30.0),
    "vtest.avi": (576, 768, 795, 10.0),
}


def test_every_frame_comes_once_in_order_at_its_time(make_clip, read_index):
    clip = make_clip(frames=47, rate=Fraction(30000, 1001))
    source = VideoReader(clip)
    frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(47))
    assert [frame.index for frame in frames] == list(range(47))
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(47) * 1001 / 30000, atol=1e-9)
    assert isinstance(source, FrameSource)
    assert source.expected_frames == 47
    assert (source.info.num_frames, source.info.codec, source.info.rotation) == (47, "h264", 0)
    assert source.info.fps == pytest.approx(30000 / 1001)
    assert not source.info.variable_frame_rate
    assert not source.info.has_audio


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("c.mp4", "libx264"),
        ("c.mkv", "libx264"),
        ("c.webm", "libvpx-vp9"),
        ("c.avi", "mpeg4"),
        ("c.ts", "libx264"),
        ("c.h264", "libx264"),
        ("c.mov", "libx265"),
        ("c.mp4", "libsvtav1"),
    ],
)
def test_containers_and_codecs(make_clip, read_index, name, codec):
    # The last frames sit in the decoder until it is flushed: the count is the proof.
    clip = make_clip(name, codec=codec, frames=25, rate=Fraction(25), options={})
    frames = list(VideoReader(clip))
    assert [read_index(frame.image) for frame in frames] == list(range(25))
    assert [frame.index for frame in frames] == list(range(25))
    steps = np.diff([frame.pts_seconds for frame in frames])
    np.testing.assert_allclose(steps, 1 / 25, atol=1.1e-3)  # Matroska's clock ticks in milliseconds


def test_variable_rate_keeps_the_containers_times(make_clip, read_index):
    ticks = [0, 33, 66, 100, 133, 400, 433, 466, 900, 933]
    source = VideoReader(make_clip(frames=len(ticks), ticks=ticks))
    frames = list(source)
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.array(ticks) / 1000, atol=1e-9)
    assert [read_index(frame.image) for frame in frames] == list(range(len(ticks)))
    assert source.info.variable_frame_rate


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(make_clip, turn, picture, read_index, degrees):
    clip = turn(make_clip(frames=6), degrees)
    source = VideoReader(clip)
    # Players turn clockwise by the tag; the reader says how far it turned counter-clockwise.
    assert source.info.rotation == 360 - degrees
    assert source.info.size == ((160, 120) if degrees != 180 else (120, 160))
    for frame in source:
        shown = np.rot90(picture(frame.index, 120, 160), (360 - degrees) // 90)
        assert np.abs(frame.image.astype(int) - shown).mean() < 8


def test_odd_sizes_stay_odd(make_clip):
    clip = make_clip("odd.mkv", size=(121, 163), codec="ffv1", pix_fmt="bgr0", options={})
    assert {frame.size for frame in VideoReader(clip)} == {(121, 163)}


def test_times_count_from_the_streams_start(make_clip):
    # MPEG-TS starts its clock at 1.4 s or so.
    assert next(iter(VideoReader(make_clip("c.ts")))).pts_seconds == 0.0


def test_start_end_and_stride(make_clip, read_index):
    clip = make_clip(frames=60)

    def indices(**options) -> list[int]:
        source = VideoReader(clip, **options)
        frames = list(source)
        assert [read_index(frame.image) for frame in frames] == [frame.index for frame in frames]
        assert source.expected_frames == len(frames)
        assert source.info.num_frames == 60
        return [frame.index for frame in frames]

    assert indices(start_frame=7, end_frame=12) == [7, 8, 9, 10, 11]
    assert indices(start_frame=7, end_frame=20, stride=5) == [7, 12, 17]
    assert indices(start_seconds=1.0, end_seconds=1.2) == list(range(30, 36))
    assert indices(start_seconds=1.01, end_seconds=1.2) == list(range(31, 36))
    assert indices(start_frame=40, start_seconds=0.1, end_seconds=1.5) == list(range(40, 45))
    assert indices(end_frame=1000, stride=30) == [0, 30]
    assert indices(start_frame=59) == [59]


@pytest.mark.parametrize("name", ["c.mp4", "c.ts"])
def test_a_start_beyond_the_end(make_clip, name):
    clip = make_clip(name, frames=60)
    with pytest.raises(UsageError, match=r"starts at 2\.5 s, but lasts only 2\.00 s; start earlier"):
        VideoReader(clip, start_seconds=2.5)
    if name == "c.mp4":
        with pytest.raises(
            UsageError, match=r"c.mp4: starts at frame 60, but has only frames 0 to 59; start earlier"
        ):
            VideoReader(clip, start_frame=60)
    else:  # the container does not count
        with pytest.raises(VideoError, match=r"c.ts: not one frame lies between the start and the end"):
            list(VideoReader(clip, start_frame=60))


def test_a_span_between_two_frames(make_clip):
    clip = make_clip(frames=60)
    with pytest.raises(VideoError, match="not one frame lies between the start and the end asked for"):
        list(VideoReader(clip, start_seconds=1.001, end_seconds=1.002))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride: expected 1 or more, got 0"),
        ({"start_frame": -1}, "start_frame: expected 0 or more, got -1"),
        ({"start_frame": 9, "end_frame": 9}, r"end_frame: expected more than the start \(9\), got 9"),
        ({"end_seconds": 0.0}, r"end_seconds: expected more than the start \(0\), got 0.0"),
    ],
)
def test_spans_that_cannot_be_meant(make_clip, options, message):
    with pytest.raises(UsageError, match=message):
        VideoReader(make_clip(frames=3), **options)


@pytest.mark.parametrize("ahead", [0, 1, 8])
def test_iterating_twice_starts_anew(make_clip, ahead):
    source = VideoReader(make_clip(frames=20), ahead=ahead)
    first, second = ([frame.index for frame in source] for _ in range(2))
    assert first == second == list(range(20))
    two = zip(source, source, strict=True)
    assert all(a.index == b.index for a, b in two)


def test_leaving_early_stops_the_thread_and_closes_the_file(make_clip):
    source = VideoReader(make_clip(frames=60), ahead=2)
    before = set(threading.enumerate())
    frames = iter(source)
    assert next(frames).index == 0
    started = set(threading.enumerate()) - before
    assert [thread.name for thread in started] == ["vis-read-ahead"]
    frames.close()
    gc.collect()
    assert not any(thread.is_alive() for thread in started)


def test_reading_ahead_is_bounded(make_clip, monkeypatch):
    made = []
    original = VideoReader._check_picture
    monkeypatch.setattr(
        VideoReader, "_check_picture", lambda self, *a, **k: (made.append(1), original(self, *a, **k))
    )
    frames = iter(VideoReader(make_clip(frames=60), ahead=3))
    next(frames)
    gc.collect()
    threading.Event().wait(0.3)  # time enough to decode all of it, were it not held back
    # One given away, three waiting, one in the thread's hand.
    assert len(made) <= 5
    frames.close()


def test_frames_do_not_share_memory(make_clip):
    frames = list(VideoReader(make_clip(frames=10)))
    before = frames[3].image.copy()
    frames[4].image[:] = 0
    np.testing.assert_array_equal(frames[3].image, before)


def test_colours_of_a_stream_that_does_not_say(make_clip):
    # Untagged is BT.601, as FFmpeg has it; the writer's test holds BT.709.
    image = next(iter(VideoReader(make_clip(frames=2)))).image
    np.testing.assert_allclose(image[10, 20], (200, 40, 40), atol=4)
    np.testing.assert_allclose(image[10, 140], (40, 40, 200), atol=4)


def test_a_colon_in_the_name_is_no_protocol(make_clip):
    clip = make_clip()
    named = clip.with_name("concat:12:30.mp4")
    clip.rename(named)
    assert probe(named).num_frames == 30


@pytest.mark.shared_data
@pytest.mark.parametrize("name", sorted(SHARED_CLIPS))
def test_real_clips(shared_data, name):
    height, width, count, fps = SHARED_CLIPS[name]
    source = open_source(shared_data / "videos" / name)
    assert source.info.size == (height, width)
    assert source.info.num_frames == count
    assert source.info.fps == pytest.approx(fps)
    assert not source.info.variable_frame_rate
    times, number, kept = [], 0, {}
    for number, frame in enumerate(source):
        assert frame.index == number
        times.append(frame.pts_seconds)
        if number in (7, count // 2, count - 1):
            kept[number] = frame
    assert number + 1 == count
    np.testing.assert_allclose(times, np.arange(count) / fps, atol=1e-6)
    with RandomAccessReader(shared_data / "videos" / name) as reader:
        assert len(reader) == count
        for index in sorted(kept, reverse=True):
            assert reader[index].pts_seconds == kept[index].pts_seconds
            np.testing.assert_array_equal(reader[index].image, kept[index].image)

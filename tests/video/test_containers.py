"""What containers say, and when they are believed: lengths, rates, empty chunks, joined streams, thumbnails."""

from __future__ import annotations

import struct
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import TruncatedVideoWarning, VideoError
from vis.video import RandomAccessReader, VideoReader

MPEG4 = {"codec": "mpeg4", "options": {"g": "10", "bf": "0"}}


def shown(path: Path, read_index, **options) -> list[int]:
    """The indices that the pictures show; ``strict``, so that any complaint of the reader fails."""
    frames = list(VideoReader(path, strict=True, **options))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [read_index(frame.image) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("c.mkv", "libx264", "aac"),
        ("c.webm", "libvpx", "libopus"),
        ("c.mp4", "libx264", "aac"),
        ("c.ts", "libx264", "aac"),
        ("c.flv", "libx264", "aac"),
        ("c.nut", "libx264", "aac"),
    ],
)
def test_a_picture_that_starts_late_or_ends_early_is_not_cut_off(make_clip, read_index, name, codec, sound):
    options = {"g": "10"} if codec == "libx264" else {"g": "10", "deadline": "realtime", "cpu-used": "8"}
    how = {"codec": codec, "options": options, "sound": sound}
    late = make_clip("late" + name, frames=20, ticks=[3000 + 40 * n for n in range(20)], **how)
    assert shown(late, read_index) == list(range(20))
    source = VideoReader(late)
    times = [frame.pts_seconds for frame in source]
    np.testing.assert_allclose(times, 0.04 * np.arange(20), atol=1.1e-3)
    assert source.info.duration_seconds == pytest.approx(0.8, abs=0.05)
    assert not source.info.variable_frame_rate
    early = make_clip("early" + name, frames=20, sound_seconds=4, **how)
    assert shown(early, read_index) == list(range(20))


@pytest.mark.parametrize("name", ["c.mkv", "c.flv"])
def test_what_is_cut_off_is_told_where_sound_goes_along(make_clip, name):
    clip = make_clip(name, frames=120, options={"g": "10"}, sound="aac")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.warns(TruncatedVideoWarning, match=r"the frames end at \d\.\d\d s of 4\.0\d s"):
        assert 30 < len(list(VideoReader(clip))) < 90


def test_a_files_length_counts_from_its_start_where_mkvmerge_wrote_it(make_clip):
    clip = make_clip("c.mkv", frames=30, ticks=[3000 + 40 * n for n in range(30)])
    copy = clip.with_name("merged.mkv")
    with av.open(str(clip)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.metadata["_STATISTICS_WRITING_APP"] = "mkvmerge v90"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    # FFmpeg's writer puts its own length there, 4.2 s from 0; read as mkvmerge's it is that of the picture.
    assert VideoReader(copy).info.duration_seconds == pytest.approx(4.2, abs=0.05)
    assert VideoReader(clip).info.duration_seconds == pytest.approx(1.2, abs=0.05)


SLOTS = [n for n in range(33) if n not in (5, 6, 12, 29, 30)]


@pytest.mark.parametrize(
    ("codec", "options", "pix_fmt"),
    [
        ("mpeg4", {"bf": "0"}, "yuv420p"),
        ("mpeg4", {"bf": "2"}, "yuv420p"),
        ("libx264", {"bf": "0"}, "yuv420p"),
        ("libx264", {"bf": "2"}, "yuv420p"),
        ("mjpeg", {"q:v": "2"}, "yuvj420p"),
    ],
)
def test_empty_chunks_of_avi_repeat_the_frame_before(make_clip, read_index, codec, options, pix_fmt):
    clip = make_clip("c.avi", frames=len(SLOTS), slots=SLOTS, codec=codec, options=options, pix_fmt=pix_fmt)
    source = VideoReader(clip, strict=True)
    frames = list(source)
    count = len(frames)
    assert source.info.num_frames == count > 28
    assert not source.info.variable_frame_rate
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], np.arange(count) / 30, atol=1e-9)
    pictures = shown(clip, read_index)
    assert list(dict.fromkeys(pictures)) == list(range(28))
    assert pictures == sorted(pictures)
    if options.get("bf") != "2":  # with reordering the muxer leaves its gaps elsewhere
        assert pictures == [sum(s <= n for s in SLOTS) - 1 for n in range(33)]
    for ours, theirs in zip(VideoReader(clip, start_frame=6, stride=3), frames[6::3], strict=True):
        assert (ours.index, ours.pts_seconds) == (theirs.index, theirs.pts_seconds)
        np.testing.assert_array_equal(ours.image, theirs.image)
    with RandomAccessReader(clip) as reader:
        assert len(reader) == count
        for index in (count - 1, 5, 6, 7, 0, 29, 28):
            assert reader[index].pts_seconds == frames[index].pts_seconds
            np.testing.assert_array_equal(reader[index].image, frames[index].image)
    frames[6].image[:] = 0  # repeats do not share memory
    assert read_index(frames[5].image) == pictures[5]


def emptied(path: Path, *entries: int) -> Path:
    """An AVI file with these chunks of its index made empty; their bytes become junk."""
    data = bytearray(path.read_bytes())
    index, movi = data.rindex(b"idx1") + 8, data.index(b"movi")
    for entry in entries:
        at = index + 16 * entry
        name, _, offset, size = struct.unpack("<4sIII", data[at : at + 16])
        chunk = movi + offset
        assert data[chunk : chunk + 4] == name
        data[chunk + 4 : chunk + 16] = struct.pack("<I4sI", 0, b"JUNK", size - 8)
        data[at + 12 : at + 16] = struct.pack("<I", 0)
    path.write_bytes(data)
    return path


def test_empty_chunks_at_both_ends_of_an_avi(make_clip, read_index):
    clip = make_clip("c.avi", frames=12, codec="mjpeg", pix_fmt="yuvj420p", options={"q:v": "2"})
    emptied(clip, 0, 4, 10, 11)
    # Nothing is before the first frame that it could repeat; the last one lasts to the end.
    assert shown(clip, read_index) == [1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 9]
    clip.write_bytes(clip.read_bytes()[:-60])
    with pytest.warns(TruncatedVideoWarning, match="10 of 12 frames decode"):
        assert len(list(VideoReader(clip))) == 9


def test_a_damaged_frame_of_an_avi_is_no_repeat(make_clip, read_index):
    clip = make_clip("c.avi", frames=12, codec="mjpeg", pix_fmt="yuvj420p", options={"q:v": "2"})
    data = bytearray(emptied(clip, 4, 8).read_bytes())
    at = data.index(b"movi") + 4
    for _ in range(3):  # the fourth chunk
        at += 8 + struct.unpack("<I", data[at + 4 : at + 8])[0]
        at += at % 2
    size = struct.unpack("<I", data[at + 4 : at + 8])[0]
    data[at + 8 : at + 8 + size] = bytes(size)
    clip.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = list(VideoReader(clip))
    assert [w.category for w in caught] == [TruncatedVideoWarning]
    # Frame 3 is lost, and so is 4, which repeats it; 8 repeats 7.
    assert [frame.index for frame in frames] == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
    assert [read_index(frame.image) for frame in frames] == [0, 1, 2, 5, 6, 7, 7, 9, 10, 11]
    with RandomAccessReader(clip) as reader:
        assert len(reader) == 12
        with pytest.raises(VideoError, match="frame 4 does not decode"):
            reader[4]
        assert read_index(reader[8].image) == 7


def test_joined_streams_go_on_with_their_step(make_clip, read_index):
    how = {"options": {"g": "10", "crf": "10"}}
    parts = [
        make_clip("a.ts", frames=30, **how),
        make_clip("b.ts", frames=20, rate=Fraction(60), **how),
        make_clip("c.ts", frames=15, **how),
    ]
    joined = parts[0].with_name("joined.ts")
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = VideoReader(joined, strict=True)
    frames = list(source)
    assert [read_index(frame.image) for frame in frames] == [*range(30), *range(20), *range(15)]
    steps = np.diff([frame.pts_seconds for frame in frames])
    np.testing.assert_allclose(steps, [1 / 30] * 30 + [1 / 60] * 20 + [1 / 30] * 14, atol=2e-5)
    assert source.info.variable_frame_rate
    joined.write_bytes(parts[0].read_bytes() + parts[2].read_bytes())
    assert not VideoReader(joined).info.variable_frame_rate


@pytest.mark.parametrize(
    ("how", "varies"),
    [
        ({"name": "c.mkv", "options": {"x264-params": "keyint=250:min-keyint=1:scenecut=100"}}, False),
        ({"name": "c.mkv", "ticks": [n * 33 + (n > 20) * 500 for n in range(40)]}, True),
        ({"name": "c.mkv", "ticks": [n * 25 + 10 * (n % 3) for n in range(40)]}, True),
        ({"name": "c.mkv", "rate": Fraction(30000, 1001)}, False),
        ({"name": "c.mkv", "rate": Fraction(240)}, False),
        ({"name": "c.flv"}, False),
        ({"name": "c.ts", "slots": [n + (n > 20) for n in range(40)]}, True),
        ({"name": "c.mp4", "slots": [n + (n > 20) for n in range(40)]}, True),
        ({"name": "c.mp4", "ticks": [round(n * 1000 / 30) for n in range(40)]}, False),
        ({"name": "c.avi", "codec": "mpeg4", "slots": [n + (n > 20) for n in range(40)]}, False),
        ({"name": "c.h264"}, False),
    ],
    ids=str,
)
def test_a_variable_rate_is_told_by_the_frames_own_times(make_clip, how, varies):
    assert VideoReader(make_clip(frames=40, **{"options": {}, **how})).info.variable_frame_rate is varies


def test_a_variable_rate_late_in_a_file_is_seen_in_its_index(make_clip):
    ticks = [40 * n + 400 * (n > 290) for n in range(300)]
    how = {"frames": 300, "size": (16, 64), "codec": "mpeg4", "options": {"g": "50"}}
    assert VideoReader(make_clip(ticks=ticks, **how)).info.variable_frame_rate
    assert not VideoReader(make_clip(ticks=[40 * n for n in range(300)], **how)).info.variable_frame_rate


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.nut", "c.avi"])
@pytest.mark.parametrize("thumbnail", [(48, 64), (480, 640)])
def test_a_thumbnail_that_comes_first_is_not_the_video(tmp_path, picture, read_index, name, thumbnail):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        still = container.add_stream("mjpeg", rate=30)
        still.height, still.width, still.pix_fmt = *thumbnail, "yuvj420p"
        film = container.add_stream("mpeg4", rate=30, options={"q:v": "2"})
        film.height, film.width, film.pix_fmt = 120, 160, "yuv420p"
        for index in range(20):
            for stream, size in ((still, thumbnail), (film, (120, 160)))[index > 0 :]:
                shot = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
                shot.pts, shot.time_base = index, Fraction(1, 30)
                container.mux(stream.encode(shot))
        for stream in (still, film):
            container.mux(stream.encode(None))
    source = VideoReader(path)
    assert (source.info.size, source.info.codec) == ((120, 160), "mpeg4")
    assert shown(path, read_index) == list(range(20))
    with RandomAccessReader(path) as reader:
        assert read_index(reader[13].image) == 13


def test_the_larger_of_two_films_is_the_video(tmp_path, picture, read_index):
    path = tmp_path / "preview.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=30, options={"q:v": "2"}) for _ in range(2)]
        for stream, size in zip(streams, ((60, 80), (120, 160)), strict=True):
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(12):
            for stream in streams:
                shot = av.VideoFrame.from_ndarray(picture(index, stream.height, stream.width), format="rgb24")
                shot.pts, shot.time_base = index, Fraction(1, 30)
                container.mux(stream.encode(shot))
        for stream in streams:
            container.mux(stream.encode(None))
    assert VideoReader(path).info.size == (120, 160)
    assert shown(path, read_index) == list(range(12))

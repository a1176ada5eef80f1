"""Broken, hostile and unlikely files: each gets its sentence, and what decodes is kept."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vis.errors import HdrVideoWarning, TruncatedVideoWarning, VideoError
from vis.video import RandomAccessReader, VideoLimits, VideoReader, open_source, probe
from vis.video.options import frames_ahead


def read_with_warnings(source) -> tuple[list[int], list[str]]:
    """Indices read, and the messages of TruncatedVideoWarning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        indices = [frame.index for frame in source]
    return indices, [str(w.message) for w in caught if w.category is TruncatedVideoWarning]


def cut(path: Path, share: float) -> Path:
    """Keep only the first ``share`` of the file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_cut_off_with_the_index_in_front(make_clip, read_index):
    clip = cut(make_clip(frames=100, movflags="faststart", options={"g": "10", "crf": "5"}), 0.6)
    with pytest.warns(TruncatedVideoWarning, match=rf"{clip}: \d+ of 100 frames decode.*cut off or damaged"):
        frames = list(VideoReader(clip))
    assert 30 < len(frames) < 80
    assert [frame.index for frame in frames] == list(range(len(frames)))
    # The very last frame may be half a picture; all before it are whole.
    assert [read_index(frame.image) for frame in frames[:-1]] == list(range(len(frames) - 1))
    with pytest.raises(VideoError, match=str(clip)):
        list(VideoReader(clip, strict=True))


def test_damage_is_told_once_per_reader(make_clip):
    source = VideoReader(
        cut(make_clip(frames=100, movflags="faststart", options={"g": "10", "crf": "5"}), 0.6)
    )
    first, messages = read_with_warnings(source)
    assert len(messages) == 1
    assert read_with_warnings(source) == (first, [])


def test_a_start_beyond_the_cut(make_clip):
    clip = cut(make_clip(frames=100, movflags="faststart", options={"g": "10", "crf": "5"}), 0.6)
    with pytest.raises(VideoError, match=r"of 100 frames decode.*cut off or damaged"):
        list(VideoReader(clip, start_frame=95))


def test_a_part_of_a_cut_off_file_is_fine(make_clip):
    clip = cut(make_clip(frames=100, movflags="faststart", options={"g": "10", "crf": "5"}), 0.6)
    # filterwarnings = error: a warning would fail here.
    assert [frame.index for frame in VideoReader(clip, end_frame=20, strict=True)] == list(range(20))


@pytest.mark.parametrize("kind", ["mkv", "avi"])
def test_cut_off_without_an_index_in_front(make_clip, kind):
    codec = {"mkv": "libx264", "avi": "mpeg4"}[kind]
    clip = cut(make_clip(f"c.{kind}", codec=codec, frames=100, options={"g": "10"}), 0.5)
    indices, messages = read_with_warnings(VideoReader(clip))
    assert 20 < len(indices) < 90
    assert len(messages) == 1
    with pytest.raises(VideoError, match="cut off or damaged"):
        list(VideoReader(clip, strict=True))


def test_cut_off_before_the_index(make_clip):
    clip = cut(make_clip(frames=60), 0.7)
    with pytest.raises(
        VideoError, match=rf"{clip}: not a video that can be opened .*cut off before its index"
    ):
        VideoReader(clip)


def test_cut_off_before_the_first_frame(make_clip):
    clip = make_clip(frames=60, movflags="faststart", options={"crf": "1"})
    at = clip.read_bytes().index(b"mdat")
    clip.write_bytes(clip.read_bytes()[: at + 40])
    with pytest.raises(VideoError, match=rf"{clip}: not one frame decodes"):
        VideoReader(clip)


def test_flipped_bits_lose_frames_but_no_index(make_clip, read_index):
    clip = make_clip(frames=120, options={"g": "10", "crf": "10"})
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    rng = np.random.default_rng(0)
    for at in rng.integers(start, start + 2500, 200):
        data[at] ^= 1 << int(rng.integers(8))
    clip.write_bytes(bytes(data))
    source = VideoReader(clip)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = list(source)
    assert [w.category for w in caught] == [TruncatedVideoWarning]
    assert "damaged" in str(caught[0].message)
    assert 60 < len(frames) <= 120
    # Damage in the middle: the end is whole again, and its frames carry the right numbers.
    assert frames[-1].index == 119
    for frame in frames[:15] + frames[-15:]:
        assert read_index(frame.image) == frame.index
    with pytest.raises(VideoError, match="damaged"):
        list(VideoReader(clip, strict=True))


def test_empty_file(tmp_path):
    path = tmp_path / "zero.mp4"
    path.touch()
    with pytest.raises(
        VideoError, match=rf"{path}: the file is empty \(0 bytes\); copy or download it again"
    ):
        probe(path)


def test_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"none.mp4: no such file; give the path of a video or of a folder"):
        probe(tmp_path / "none.mp4")


def test_an_address_is_no_file():
    with pytest.raises(VideoError, match="an address on the network; download the video first"):
        open_source("https://example.org/clip.mp4")


@pytest.mark.parametrize("name", ["notes.txt", "clip.mp4", "subs.nfo"])
def test_text_is_no_video(tmp_path, name):
    # FFmpeg itself would show a .txt as a video of its letters.
    path = tmp_path / name
    path.write_text("This is no video.\n" * 200)
    with pytest.raises(VideoError, match=rf"{path}: not a video that can be opened"):
        probe(path)


def test_random_bytes(tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(VideoError, match=str(path)):
        list(VideoReader(path))


def test_a_playlist_does_not_open_other_files(make_clip, tmp_path):
    clip = make_clip("secret.ts")
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{clip}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile {clip.name}\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="not a video that can be opened"):
            probe(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "codec"), [("song.m4a", "aac"), ("song.wav", "pcm_s16le"), ("song.mp4", "aac")]
)
def test_sound_only(make_sound, name, codec):
    path = make_sound(name, codec)
    with pytest.raises(VideoError, match=rf"{path}: holds no video stream \(only audio\); give a video"):
        probe(path)


def test_a_songs_cover_is_no_video(make_sound, tmp_path):
    song = make_sound("song.mp3", "libmp3lame")
    cover = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(cover, format="JPEG")
    body = b"\0image/jpeg\0\x03\0" + cover.getvalue()  # encoding, type, front cover, no description
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))  # ID3 counts in 7 bits
    song.write_bytes(b"ID3\3\0\0" + size + frame + song.read_bytes())
    with pytest.raises(VideoError, match=r"song.mp3: holds no video stream \(only audio"):
        probe(song)


def test_folders_without_images(tmp_path):
    with pytest.raises(VideoError, match=r"the folder holds no images \(.bmp, .jpeg, .jpg, .png"):
        open_source(tmp_path)


@pytest.mark.parametrize("transfer", [16, 18])  # PQ, HLG
def test_high_dynamic_range_is_told(make_clip, transfer):
    clip = make_clip(
        "hdr.mp4", codec="libx265", pix_fmt="yuv420p10le", frames=3, transfer=transfer, options={}
    )
    source = VideoReader(clip)
    assert source.info.hdr
    with pytest.warns(HdrVideoWarning, match=r"hdr.mp4: high dynamic range .* tone-mapped"):
        frames = list(source)
    assert len(frames) == 3
    assert frames[0].image.dtype == np.uint8


def test_size_change_in_mid_stream(make_clip):
    small, large = make_clip("a.h264", frames=5), make_clip("b.h264", frames=5, size=(160, 240))
    joined = small.with_name("joined.h264")
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    source = VideoReader(joined)
    seen = []
    with pytest.raises(
        VideoError, match=r"joined.h264: frame 5 is 240x160 pixels .* 160x120; the size must not"
    ):
        seen.extend(frame.index for frame in source)
    assert seen == list(range(5))


def test_bombs_are_refused_by_their_header(make_clip):
    bomb = make_clip("bomb.mp4", frames=3, size=(2048, 4096), options={"preset": "ultrafast", "crf": "51"})
    limits = VideoLimits(pixels_per_frame=4096 * 2047)
    for opened in (VideoReader, RandomAccessReader):
        with pytest.raises(
            VideoError, match=r"bomb.mp4: frames of 4096x2048 pixels, over the limit of 8,384,512"
        ):
            opened(bomb, limits=limits)
    assert probe(bomb).size == (2048, 4096)


def test_a_header_that_lies_about_size(make_clip):
    # The track header and the sample entry say 16x16; the stream itself is larger.
    clip = make_clip(frames=3, size=(480, 640))
    data = clip.read_bytes().replace((640).to_bytes(2, "big") + (480).to_bytes(2, "big"), b"\x00\x10\x00\x10")
    clip.write_bytes(data)
    with pytest.raises(VideoError, match="over the limit of 100,000 pixels per frame"):
        list(VideoReader(clip, limits=VideoLimits(pixels_per_frame=100_000)))


def test_a_header_that_lies_hugely_makes_no_room(make_clip):
    # A raw stream that grows in the middle: the decoder never makes room for the large pictures.
    small = make_clip("a.h264", frames=5, size=(64, 64))
    large = make_clip("b.h264", frames=5, size=(1024, 1024))
    joined = small.with_name("joined.h264")
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    source = VideoReader(joined, limits=VideoLimits(pixels_per_frame=64 * 64))
    indices, messages = read_with_warnings(source)
    assert indices == list(range(len(indices)))
    assert 1 <= len(indices) <= 5
    assert "packets are damaged" in messages[0]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (VideoLimits(frames=29), "30 frames, over the limit of 29; read a part of it"),
        (VideoLimits(seconds=0.9), "1 s long, over the limit of 1 s"),
        (VideoLimits(total_pixels=120 * 160 * 29), "576,000 pixels in all, over the limit of 556,800"),
        (VideoLimits(bytes=1000), "bytes, over the limit of 1,000; cut the file first"),
    ],
)
def test_other_limits(make_clip, limits, message):
    clip = make_clip(frames=30)
    with pytest.raises(VideoError, match=message):
        open_source(clip, limits=limits)
    if limits.bytes > 1000:
        assert len(list(open_source(clip, limits=limits, end_frame=10))) == 10


def test_limits_hold_where_the_container_is_silent(make_clip):
    # Matroska promises no count: only decoding tells.
    clip = make_clip("c.h264", frames=40)
    source = VideoReader(clip, limits=VideoLimits(frames=25))
    with pytest.raises(VideoError, match="26 frames, over the limit of 25"):
        list(source)


def test_unreadable_file(make_clip, monkeypatch):
    import av

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    clip = make_clip(frames=2)
    monkeypatch.setattr(av, "open", refuse)  # as root nothing is unreadable
    with pytest.raises(VideoError, match="may not be read"):
        probe(clip)


def test_random_access_to_a_cut_off_file(make_clip):
    clip = cut(make_clip(frames=100, movflags="faststart", options={"g": "10", "crf": "5"}), 0.6)
    readable, _ = read_with_warnings(VideoReader(clip))
    with RandomAccessReader(clip) as reader:
        assert len(reader) >= len(readable)
        for index in (readable[-2], 0, 31):
            assert reader[index].index == index


def test_random_access_to_a_damaged_frame(make_clip, read_index):
    clip = make_clip(frames=60, options={"g": "10", "bf": "0", "crf": "10"})
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 1500] = bytes(1500)
    clip.write_bytes(bytes(data))
    readable, _ = read_with_warnings(VideoReader(clip))
    lost = sorted(set(range(60)) - set(readable))
    assert lost
    with RandomAccessReader(clip) as reader:
        with pytest.raises(VideoError, match=rf"clip.mp4: frame {lost[0]} does not decode"):
            reader[lost[0]]
        for index in (59, 0):
            assert read_index(reader[index].image) == index


def test_sides_have_a_limit_too(make_clip, tmp_path):
    from PIL import Image

    clip = make_clip(frames=2, size=(64, 320))
    with pytest.raises(VideoError, match=r"frames of 320x64 pixels, over the limit of 300 pixels per side"):
        probe(clip, limits=VideoLimits(pixels_per_side=300))
    Image.new("L", (1, 70_000)).save(tmp_path / "0.png")
    with pytest.raises(
        VideoError, match=r"frames of 1x70000 pixels, over the limit of 65,500 pixels per side"
    ):
        open_source(tmp_path)


def test_fewer_frames_ahead_where_they_are_large():
    sizes = {(720, 1280): 4, (2160, 3840): 4, (4320, 7680): 2, (8192, 8192): 1}
    assert {size: frames_ahead(4, size) for size in sizes} == sizes
    assert frames_ahead(0, (720, 1280)) == 0

"""Sound beside the picture: copied where MP4 holds it, left out with a word where not, and never an error."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import FallbackWarning, OutputError
from vis.video import VideoReader, VideoWriter


def copied(path: Path, target: Path) -> tuple[list[tuple[float, bytes]], list[str]]:
    """Write the clip's frames with its sound; the packets of the sound that came along, and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = VideoReader(path)
        with VideoWriter(target, source.info.size, source.info.fps, audio_from=path) as writer:
            for frame in source:
                writer.write(frame.image, frame.pts_seconds)
    assert len(list(VideoReader(target))) == writer.frames_written
    return packets(target), [str(w.message) for w in caught if w.category is FallbackWarning]


def packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        streams = container.streams.audio
        return [
            (float(p.pts * p.time_base), bytes(p))
            for p in (container.demux(streams[0]) if streams else ())
            if p.size
        ]


def heard(path: Path) -> float:
    """Seconds of sound that decode."""
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("c.mp4", "libmp3lame", "libx264"),
        ("c.mkv", "libmp3lame", "libx264"),
        ("c.avi", "libmp3lame", "mpeg4"),
        ("c.mkv", "aac", "libx264"),
        ("c.webm", "libopus", "libvpx"),
        ("c.mkv", "flac", "libx264"),
        ("c.mkv", "ac3", "libx264"),
        ("c.mpg", "mp2", "mpeg2video"),
        ("c.ts", "aac", "libx264"),
        ("c.mov", "alac", "libx264"),
    ],
)
def test_what_mp4_holds_is_copied(tmp_path, make_clip, name, codec, video):
    fast = {"deadline": "realtime", "cpu-used": "8"} if video == "libvpx" else {}
    clip = make_clip(name, frames=45, sound=codec, codec=video, options=fast)
    got, said = copied(clip, tmp_path / "o.mp4")
    assert said == []
    want = [data for _, data in packets(clip)]
    if name == "c.ts":  # packets of a stream carry headers of their own, which MP4 keeps elsewhere
        assert [data for _, data in got] == [data[7:] for data in want[: len(got)]]
    else:
        assert [data for _, data in got] == want[: len(got)]
    assert len(got) >= len(want) - 2
    times = [time for time, _ in got]
    assert times == sorted(set(times))
    assert heard(tmp_path / "o.mp4") == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize(
    ("name", "codec", "video", "why"),
    [
        ("c.mkv", "pcm_s16le", "libx264", "is pcm_s16le, which MP4 players do not know"),
        ("c.avi", "pcm_s16le", "mpeg4", "is pcm_s16le, which MP4 players do not know"),
    ],
)
def test_what_mp4_does_not_hold_is_told(tmp_path, make_clip, name, codec, video, why):
    clip = make_clip(name, frames=10, sound=codec, codec=video, options={})
    got, said = copied(clip, tmp_path / "o.mp4")
    assert got == []
    assert said == [
        f"{clip}: its sound {why} (convert it to AAC first to keep it); the video is written without sound"
    ]


def with_tracks(
    path: Path, picture, tracks: list[tuple[str, int, int]], *, format: str | None = None
) -> Path:
    """20 frames beside sound tracks of (codec, samples per second, packets), all declared in the header."""
    with av.open(str(path), "w", format=format) as container:
        film = container.add_stream("libx264", rate=20)
        film.height, film.width, film.pix_fmt = 120, 160, "yuv420p"
        sounds = []
        for codec, rate, _ in tracks:
            sounds.append(container.add_stream(codec, rate=rate))
            sounds[-1].layout = "mono"
        for index in range(20):
            shot = av.VideoFrame.from_ndarray(picture(index, 120, 160), format="rgb24")
            shot.pts, shot.time_base = index, Fraction(1, 20)
            container.mux(film.encode(shot))
        container.mux(film.encode(None))
        for (_, rate, count), sound in zip(tracks, sounds, strict=True):
            size = sound.codec_context.frame_size or 1024
            for number in range(count):
                tone = np.sin(np.arange(size) / 20 + number)[None].astype(np.float32) * 0.1
                wide = sound.codec_context.format.name
                scale, kind = {"s16": (2**15, np.int16), "s32": (2**31, np.int32)}.get(
                    wide[:3], (1, np.float32)
                )
                values = (tone * scale).astype(kind)
                frame = av.AudioFrame.from_ndarray(values, format=wide, layout="mono")
                frame.sample_rate, frame.pts = rate, number * size
                container.mux(sound.encode(frame))
            if count:
                container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(("name", "format"), [("c.ts", "mpegts"), ("c.mkv", None)])
@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_a_track_that_is_declared_and_empty(tmp_path, picture, name, format, codec):
    clip = with_tracks(tmp_path / name, picture, [(codec, 44100, 0)], format=format)
    assert VideoReader(clip).info.has_audio
    got, said = copied(clip, tmp_path / "o.mp4")
    assert got == []
    assert said == [f"{clip}: its sound is an empty track of {codec}; the video is written without sound"]


def test_the_first_track_that_can_be_copied_is(tmp_path, picture):
    tracks = [("aac", 44100, 0), ("pcm_s16le", 44100, 30), ("libmp3lame", 44100, 30), ("aac", 44100, 30)]
    clip = with_tracks(tmp_path / "c.mkv", picture, tracks)
    got, said = copied(clip, tmp_path / "o.mp4")
    assert said == []
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [s.codec_context.codec.canonical_name for s in container.streams.audio] == ["mp3"]
    assert len(got) > 20
    clip = with_tracks(tmp_path / "none.mkv", picture, tracks[:2])
    _, said = copied(clip, tmp_path / "o.mp4")
    assert len(said) == 1
    assert "is an empty track of aac; is pcm_s16le, which MP4 players do not know" in said[0]


def test_a_kind_that_mp4_does_not_take(tmp_path, picture):
    clip = with_tracks(tmp_path / "c.mkv", picture, [("libmp3lame", 11025, 20)])
    got, said = copied(clip, tmp_path / "o.mp4")
    assert got == []
    assert "is mp3 of a kind that does not fit into MP4 (Invalid argument" in said[0]


def restamped(source: Path, target: Path, change) -> Path:
    """The same packets, those of the sound stamped ``change(number, stamp, duration)``."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        numbers = dict.fromkeys(streams, 0)
        for packet in old.demux():
            if not packet.size:
                continue
            number, numbers[packet.stream_index] = (
                numbers[packet.stream_index],
                numbers[packet.stream_index] + 1,
            )
            if packet.stream.type == "audio":
                packet.pts = packet.dts = change(number, packet.pts, packet.duration)
            packet.stream = streams[packet.stream_index]
            new.mux(packet)
    return target


def test_a_stamp_that_repeats_moves_no_other(tmp_path, make_clip):
    clip = make_clip("c.mkv", frames=60, sound="aac")
    odd = restamped(clip, tmp_path / "odd.mkv", lambda n, stamp, length: stamp - length if n == 20 else stamp)
    assert len({time for time, _ in packets(odd)}) == len(packets(odd)) - 1
    got, said = copied(odd, tmp_path / "o.mp4")
    plain, _ = copied(clip, tmp_path / "plain.mp4")
    assert said == []
    assert [data for _, data in got] == [data for _, data in plain]
    np.testing.assert_allclose([time for time, _ in got], [time for time, _ in plain], atol=2e-3)


def test_all_stamps_equal(tmp_path, make_clip):
    clip = make_clip("c.mkv", frames=60, sound="aac")
    odd = restamped(clip, tmp_path / "odd.mkv", lambda _n, _stamp, _length: 0)
    got, _ = copied(odd, tmp_path / "o.mp4")
    assert len(got) > 80
    np.testing.assert_allclose(np.diff([time for time, _ in got]), 1024 / 48000, atol=1e-3)


def test_joined_streams_keep_their_sound_in_step(tmp_path, make_clip):
    parts = [make_clip(f"{n}.ts", frames=30, sound="aac", options={"g": "10"}) for n in range(3)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    got, said = copied(joined, tmp_path / "o.mp4")
    assert said == []
    times = [time for time, _ in got]
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(3, abs=0.1)
    assert heard(tmp_path / "o.mp4") == pytest.approx(3, abs=0.1)


def test_sound_that_is_damaged_costs_no_picture(tmp_path, make_clip):
    clip = make_clip("c.ts", frames=60, sound="aac", options={"g": "10"})
    data = bytearray(clip.read_bytes())
    rng = np.random.default_rng(0)
    with av.open(str(clip)) as container:
        number = container.streams.audio[0].id
    for at in range(0, len(data), 188):  # the packets of the transport that carry sound
        if ((data[at + 1] & 0x1F) << 8 | data[at + 2]) == number and at > len(data) // 3:
            data[at + 30 : at + 180] = rng.integers(0, 256, 150, dtype=np.uint8).tobytes()
    clip.write_bytes(data)
    got, said = copied(clip, tmp_path / "o.mp4")
    assert 10 < len(got) < 90
    assert len(said) <= 1
    assert all("a part of its sound is damaged" in text for text in said)


def test_a_disk_that_fails_is_not_taken_for_damaged_sound(tmp_path, make_clip, monkeypatch):
    from vis.video.audio import AudioCopy

    clip = make_clip("c.mp4", frames=10, sound="aac")

    class Full:
        def mux(self, packet):
            raise av.error.FFmpegError(28, "No space left on device")

    real = AudioCopy.open.__func__

    def opened(cls, path, target):
        copy = real(cls, path, target)
        copy._target = Full()
        return copy

    monkeypatch.setattr(AudioCopy, "open", classmethod(opened))
    with pytest.raises(OutputError, match="could not be encoded"):
        copied(clip, tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()


def test_images_have_no_sound(tmp_path, picture):
    from PIL import Image

    stack = tmp_path / "stack.tif"
    Image.fromarray(picture(0, 120, 160)).save(stack)
    with VideoWriter(tmp_path / "o.mp4", (120, 160), 10, audio_from=stack) as writer:
        writer.write(picture(0, 120, 160))
    assert packets(tmp_path / "o.mp4") == []


def test_sides_that_h264_does_not_take(tmp_path):
    from vis.errors import UsageError

    with pytest.raises(UsageError, match=r"20000x10 pixels, and H.264 takes 16384 a side at most"):
        VideoWriter(tmp_path / "o.mp4", (10, 20000), 30)

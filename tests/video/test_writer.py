"""Writing video: what browsers need, the rate as given, the sound as it was, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import FallbackWarning, OutputError, UsageError
from vis.video import VideoReader, VideoWriter, probe


def write(
    path: Path, picture, *, frames: int = 30, size=(120, 160), fps=Fraction(30), times=None, **options
) -> Path:
    with VideoWriter(path, size, fps, crf=10, **options) as writer:
        for index in range(frames):
            writer.write(picture(index, *size), None if times is None else times[index])
    return path


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of each packet of sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(p.pts * stream.time_base, bytes(p)) for p in container.demux(stream) if p.size]


def test_what_browsers_need(tmp_path, picture, read_index):
    path = write(tmp_path / "out" / "o.mp4", picture)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            1,
            1,
            1,
            1,
        )
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # playing starts before everything is there
    frames = list(VideoReader(path))
    assert [read_index(frame.image) for frame in frames] == list(range(30))
    assert [p.name for p in path.parent.iterdir()] == ["o.mp4"]
    assert path.stat().st_mode & 0o444 == 0o444


def test_colours_survive_the_round_trip(tmp_path):
    colors = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128], [250, 250, 5]], np.uint8)
    image = np.repeat(np.repeat(colors[None], 64, axis=1), 64, axis=0)
    with VideoWriter(tmp_path / "o.mp4", image.shape[:2], 30, crf=5) as writer:
        for _ in range(3):
            writer.write(image)
    shown = next(iter(VideoReader(tmp_path / "o.mp4"))).image
    np.testing.assert_allclose(shown[32, 32::64].astype(int), colors.astype(int), atol=4)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 30000 / 1001, 23.976023976023978, 12.5, 10])
def test_the_rate_is_kept(tmp_path, picture, fps):
    source = VideoReader(write(tmp_path / "o.mp4", picture, fps=fps))
    assert source.info.fps == pytest.approx(float(fps), rel=1e-6)
    times = [frame.pts_seconds for frame in source]
    np.testing.assert_allclose(times, np.arange(30) / float(fps), atol=1e-9)
    assert source.info.duration_seconds == pytest.approx(30 / float(fps), abs=1e-3)


def test_variable_times_are_kept_and_start_at_zero(tmp_path, picture):
    times = [5.0, 5.04, 5.08, 5.5, 5.51, 7.25]
    source = VideoReader(write(tmp_path / "o.mp4", picture, frames=6, times=times))
    assert source.info.variable_frame_rate
    np.testing.assert_allclose([f.pts_seconds for f in source], np.array(times) - 5.0, atol=6e-6)
    # The last frame is shown as long as the one before it.
    assert source.info.duration_seconds == pytest.approx(2.25 + 1.74, abs=1e-3)


@pytest.mark.parametrize("size", [(121, 163), (120, 163), (121, 160), (1, 1)])
def test_odd_sizes_are_padded_with_their_edge(tmp_path, size):
    image = np.random.default_rng(0).integers(60, 200, (*size, 1)).repeat(3, 2).astype(np.uint8)
    with VideoWriter(tmp_path / "o.mp4", size, 30, crf=1) as writer:
        for _ in range(2):
            writer.write(image)
    height, width = size
    shown = next(iter(VideoReader(tmp_path / "o.mp4"))).image.astype(int)
    assert shown.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(shown[:height, :width] - image).mean() < 6
    if height % 2:
        assert np.abs(shown[-1] - shown[-2]).mean() < 12


def test_sound_is_copied_bit_by_bit(tmp_path, make_clip, picture):
    source = make_clip(frames=60, sound="aac")
    path = write(tmp_path / "o.mp4", picture, frames=60, audio_from=source)
    assert probe(path).has_audio
    before, after = sound_packets(source), sound_packets(path)
    assert [data for _, data in after] == [data for _, data in before]
    assert max(abs(a - b) for (a, _), (b, _) in zip(after, before, strict=True)) < Fraction(1, 1000)


def test_sound_is_cut_to_the_frames(tmp_path, make_clip, picture):
    source = make_clip(frames=90, sound="aac")
    times = [frame.pts_seconds for frame in VideoReader(source, start_frame=30, end_frame=60)]
    path = write(tmp_path / "o.mp4", picture, frames=30, times=times, audio_from=source)
    before, after = sound_packets(source), sound_packets(path)
    at = {data: time for time, data in before}
    # Every packet sits where it sat, one second earlier; the second kept is covered from end to end.
    shifts = [at[data] - time for time, data in after if data in at]
    assert len(shifts) == len(after)
    assert all(abs(shift - 1) < Fraction(1, 100) for shift in shifts)
    assert after[0][0] < Fraction(3, 100)
    assert Fraction(96, 100) < after[-1][0] < 1


def test_sound_that_mp4_cannot_hold_is_left_out(tmp_path, make_clip, picture):
    source = make_clip("c.mkv", frames=10, sound="pcm_s16le")
    with pytest.warns(FallbackWarning, match=r"c.mkv: its sound is pcm_s16le.*written without sound"):
        path = write(tmp_path / "o.mp4", picture, frames=10, audio_from=source)
    assert not probe(path).has_audio


def test_sources_without_sound_are_fine(tmp_path, make_clip, picture):
    for source in (make_clip(frames=5), tmp_path, tmp_path / "gone.mp4"):
        assert not probe(write(tmp_path / "o.mp4", picture, frames=5, audio_from=source)).has_audio


def test_an_exception_inside_leaves_no_file(tmp_path, picture):
    old = tmp_path / "o.mp4"
    old.write_bytes(b"what stood here before")

    def frames():
        yield from (picture(index, 120, 160) for index in range(20))
        raise KeyError("the caller's own")

    with pytest.raises(KeyError), VideoWriter(old, (120, 160), 30) as writer:
        list(map(writer.write, frames()))
    assert old.read_bytes() == b"what stood here before"
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


def test_a_writer_that_nobody_closes_leaves_no_file(tmp_path, picture):
    writer = VideoWriter(tmp_path / "o.mp4", (120, 160), 30)
    writer.write(picture(0, 120, 160))
    assert not (tmp_path / "o.mp4").exists()
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_no_frames_no_file(tmp_path):
    with (
        pytest.raises(OutputError, match="not one frame was written"),
        VideoWriter(tmp_path / "o.mp4", (8, 8), 30),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls(tmp_path, picture):
    with pytest.raises(UsageError, match="fps: expected a number above 0, got 0"):
        VideoWriter(tmp_path / "o.mp4", (8, 8), 0)
    with pytest.raises(UsageError, match=r"size: expected a positive \(height, width\)"):
        VideoWriter(tmp_path / "o.mp4", (0, 8), 30)
    writer = VideoWriter(tmp_path / "o.mp4", (120, 160), 30)
    with pytest.raises(ValueError, match=r"expected uint8\[120, 160, 3\], got uint8\[160, 120, 3\]"):
        writer.write(picture(0, 160, 120))
    writer.write(picture(0, 120, 160), 1.0)
    with pytest.raises(ValueError, match=r"pts_seconds must rise, got 1.0 after 1.0"):
        writer.write(picture(0, 120, 160), 1.0)
    with pytest.raises(ValueError, match="with every picture or with none"):
        writer.write(picture(0, 120, 160))
    writer.write(picture(1, 120, 160), 2.0)
    writer.close()
    writer.close()
    with pytest.raises(OutputError, match="the writer is closed"):
        writer.write(picture(2, 120, 160), 3.0)
    assert len(list(VideoReader(tmp_path / "o.mp4"))) == 2


def test_a_file_that_does_not_read_back_never_appears(tmp_path, picture):
    writer = VideoWriter(tmp_path / "o.mp4", (120, 160), 30)
    for index in range(5):
        writer.write(picture(index, 120, 160))
    writer.frames_written += 1  # as if the encoder had lost one
    with pytest.raises(OutputError, match="6 frames were written and 5 read back; nothing was written"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_told_before_the_work(tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=100 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        OutputError, match=r"about 1,312 MiB are needed and 100 MiB are free; free some space"
    ):
        VideoWriter(tmp_path / "a" / "o.mp4", (720, 1280), 30, expected_frames=29_756)
    assert list(tmp_path.iterdir()) == []
    VideoWriter(tmp_path / "o.mp4", (720, 1280), 30, expected_frames=300).abort()


ENCODE = """
import hashlib, os, sys
import numpy as np
from vis.video import VideoWriter, mp4

path, cores, level = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if cores:
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
if level:
    mp4._instructions = lambda: level
noise = np.random.default_rng(0).integers(0, 60, (3, 270, 486, 3), np.uint8)
y, x = np.mgrid[:270, :486]
with VideoWriter(path, (270, 486), 30) as writer:
    for index in range(40):
        image = noise[index % 3] + (((x // 4 * (y // 3) + 5 * index) % 180)[..., None]).astype(np.uint8)
        writer.write(image)
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot choose cores here")
def test_the_same_pictures_give_the_same_bytes_on_any_number_of_cores(tmp_path):
    def encode(*, cores: int = 0, level: str = "", garbage: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", ENCODE, str(tmp_path / "o.mp4"), str(cores), level],
            # What is read before it is written would show in the bytes.
            env={**os.environ, "MALLOC_PERTURB_": str(garbage)},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        return done.stdout.strip()

    usual = encode()
    assert encode(cores=1, garbage=165) == usual
    import cv2

    if cv2.checkHardwareSupport(11):  # AVX2: a CPU without it takes the next lower code
        assert encode(level="asm=avx", garbage=90) == usual


FILL = """
import resource, sys
import numpy as np
from vis.errors import OutputError
from vis.video import VideoWriter

path, limit = sys.argv[1], int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a real write that really fails
noise = np.random.default_rng(0)
try:
    with VideoWriter(path, (240, 320), 30, crf=1) as writer:
        for _ in range(int(sys.argv[3])):
            writer.write(noise.integers(0, 256, (240, 320, 3), dtype=np.uint8))
except OutputError as error:
    print(error)
"""


def fill(path: Path, limit: int, frames: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FILL), str(path), str(limit), str(frames)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_a_write_that_fails_leaves_nothing(tmp_path):
    assert "cannot be written (File too large)" in fill(tmp_path / "o.mp4", 200_000, 60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_a_failure_in_the_last_moment_leaves_nothing(tmp_path):
    # The index moves to the front when the file is closed; only that last growth is refused.
    assert fill(tmp_path / "whole.mp4", 0, 12) == ""
    size = (tmp_path / "whole.mp4").stat().st_size
    message = fill(tmp_path / "o.mp4", size - 1, 12)
    assert "o.mp4: " in message
    assert [p.name for p in tmp_path.iterdir()] == ["whole.mp4"]


def test_a_full_disk_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        message = fill(small / "o.mp4", 0, 200)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert (
        message == f"{small / 'o.mp4'}: the disk is full; nothing was written. Free some space and run again"
    )
    assert left == []


@pytest.mark.shared_data
def test_a_real_clip_through_reader_and_writer(shared_data, tmp_path):
    source = VideoReader(shared_data / "videos" / "01_dog.mp4")
    options = {"audio_from": source.path, "preset": "ultrafast"}
    with VideoWriter(tmp_path / "o.mp4", source.info.size, source.info.fps, **options) as writer:
        for frame in source:
            writer.write(frame.image, frame.pts_seconds)
    copy = VideoReader(tmp_path / "o.mp4")
    assert (copy.info.num_frames, copy.info.fps, copy.info.has_audio) == (289, source.info.fps, True)
    assert copy.info.duration_seconds == pytest.approx(source.info.duration_seconds, abs=1e-3)
    # All 454 packets but those that begin after the last frame has ended.
    assert 450 <= len(sound_packets(tmp_path / "o.mp4")) <= 454
    pairs = zip(VideoReader(source.path, stride=48), VideoReader(copy.path, stride=48), strict=True)
    for before, after in pairs:
        assert after.pts_seconds == pytest.approx(before.pts_seconds, abs=1e-9)
        assert np.abs(before.image.astype(int) - after.image).mean() < 4

"""Parts joined without encoding: every frame at its time, the sound as it was, the same bytes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import OutputError
from vis.video import VideoReader, VideoWriter
from vis.video.concat import _storing_times, concat_parts, is_part

UNEVEN = np.cumsum([70, 90, 110, 60, 240, 33] * 7).astype(float)[:40] / 1000


def write_parts(
    folder: Path, picture, sizes, *, times=None, fps=30, **options
) -> tuple[list[Path], list[float]]:
    """Parts of these sizes that show frames 0, 1, 2 ...; and the times of their first frames."""
    parts, starts, at = [], [], 0
    for number, size in enumerate(sizes):
        parts.append(folder / f"part{number}.mp4")
        starts.append(0.0 if times is None else float(times[at]))
        with VideoWriter(parts[-1], (120, 160), fps, crf=10, **options) as writer:
            for index in range(at, at + size):
                writer.write(picture(index, 120, 160), None if times is None else float(times[index]))
        at += size
    return parts, starts


def packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(p.pts, p.dts) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("sizes", [(40,), (20, 20), (13, 1, 2, 24), (1,) * 5], ids=str)
@pytest.mark.parametrize("uneven", [False, True])
def test_every_frame_at_its_time(sizes, uneven, tmp_path, picture, read_index, make_clip):
    times = UNEVEN + 3.0 if uneven else None
    parts, starts = write_parts(tmp_path, picture, sizes, times=times)
    sound = make_clip("sound.mp4", frames=40, sound="aac")
    target = tmp_path / "o" / "joined.mp4"
    concat_parts(parts, target, 30, starts=starts if uneven else None, audio_from=sound)
    frames = list(VideoReader(target))
    assert [read_index(frame.image) for frame in frames] == list(range(sum(sizes)))
    want = UNEVEN - UNEVEN[0] if uneven else np.arange(40) / 30
    np.testing.assert_allclose([f.pts_seconds for f in frames], want[: sum(sizes)], atol=2.3e-5)
    stored = packets(target)
    assert all(a < b for (_, a), (_, b) in pairwise(stored))  # rising times of decoding
    assert all(dts <= pts for pts, dts in stored)
    again = tmp_path / "again.mp4"
    concat_parts(parts, again, 30, starts=starts if uneven else None, audio_from=sound)
    assert again.read_bytes() == target.read_bytes()
    assert VideoReader(target).info.has_audio == (
        not uneven
    )  # the uneven clip begins after the sound has ended


def test_one_part_is_what_the_writer_writes(tmp_path, picture):
    (part,), starts = write_parts(tmp_path, picture, (40,), times=UNEVEN)
    concat_parts([part], tmp_path / "joined.mp4", 30, starts=starts)
    ours, theirs = VideoReader(tmp_path / "joined.mp4"), VideoReader(part)
    assert ours.info.duration_seconds == theirs.info.duration_seconds
    assert ours.info.duration_seconds == pytest.approx(UNEVEN[-1] - UNEVEN[0] + 0.06, abs=1e-3)
    for a, b in zip(ours, theirs, strict=True):
        assert a.pts_seconds == b.pts_seconds
        np.testing.assert_array_equal(a.image, b.image)


def test_parts_that_do_not_fit_are_told(tmp_path, picture):
    (good, other), _ = write_parts(tmp_path, picture, (5, 5))
    assert is_part(good, 30, 5)
    assert not is_part(good, 30, 6)
    assert not is_part(good, Fraction(24000, 1001), 5)
    assert not is_part(tmp_path / "gone.mp4", 30, 5)
    with VideoWriter(other, (120, 162), 30) as writer:
        writer.write(picture(0, 120, 162))
    with pytest.raises(OutputError, match=r"part1\.mp4: was encoded in another way than .*part0"):
        concat_parts([good, other], tmp_path / "o.mp4", 30)
    other.write_bytes(good.read_bytes()[:200])
    with pytest.raises(OutputError, match=r"part1\.mp4: this part does not read"):
        concat_parts([good, other], tmp_path / "o.mp4", 30)
    with pytest.raises(OutputError, match="not one part"):
        concat_parts([], tmp_path / "o.mp4", 30)
    assert not (tmp_path / "o.mp4").exists()


def test_storing_times_as_in_the_drawing():
    assert list(_storing_times([0, 1, 2, 3, 4, 5], [0, 4, 2, 1, 3, 5])) == [-2, -1, 0, 1, 2, 3]
    assert list(_storing_times([0, 7, 9], [0, 7, 9])) == [0, 7, 9]

"""Times that files give and writers keep: repeated and falling stamps, and rates far outside of the usual."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vis.errors import FallbackWarning, UsageError
from vis.video import AlphaVideoWriter, VideoReader, VideoWriter
from vis.video.concat import concat_parts
from vis.video.timestamps import MOST_TICKS, OutputTimestamps, RisingTicks, RisingTimes


def rising(stamps, step=1) -> list[float]:
    times = RisingTimes(Fraction(step))
    return [float(times.next(None if stamp is None else Fraction(stamp))) for stamp in stamps]


def test_rising_times_as_in_the_drawing():
    assert rising([0, 1, 2, 2, 4, 5, 6, 0, 1, 2, 3]) == list(range(11))


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([None, None, None], [0, 1, 2]),
        ([5, 6, 9], [5, 6, 9]),
        ([0, 4, 8, 8, 8, 12, 16], [0, 4, 8, 9, 10, 12, 16]),
        ([0, 4, 8, 12, 0, 2, 4, 6], [0, 4, 8, 12, 16, 18, 20, 22]),  # goes on by the step that it had
        ([0, 4, 8, 5, 16, 20], [0, 4, 8, 12, 16, 20]),  # one wrong stamp moves no other
        ([0, 4, 100, 8, 12, 16], [0, 4, 100, 104, 108, 112]),  # nothing may fall again
        ([-2, 0, 1], [-2, 0, 1]),
    ],
)
def test_rising_times(stamps, times):
    assert rising(stamps) == times


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), max_size=40), st.integers(1, 9))
def test_times_rise_whatever_the_stamps(stamps, step):
    assert (np.diff(rising(stamps, step)) > 0).all()


@given(st.lists(st.integers(0, 2**40), max_size=20))
def test_ticks_rise_by_what_a_file_holds(wanted):
    ticks = RisingTicks(90_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vis.video.timestamps.warnings.warn", lambda *_, **__: None)
        got = [-1, *(ticks.next(tick) for tick in wanted)]
    steps = np.diff(got)
    assert (steps >= 1).all()
    assert (steps <= MOST_TICKS // 8).all()
    kept = sorted(set(wanted))
    if kept == wanted and (np.diff([-1, *kept]) <= MOST_TICKS // 8).all():
        assert got[1:] == wanted


@pytest.mark.parametrize(
    ("fps", "kept"),
    [
        (30000 / 1001, Fraction(30000, 1001)),
        (Fraction(1, 200), Fraction(1, 200)),
        (0.3, Fraction(3, 10)),
        (5000, Fraction(5000)),
        (123456.789, Fraction(123457)),
        (1e9, Fraction(1_000_000)),
        (1e-9, Fraction(1, 100_000)),
        (Fraction(90_000), Fraction(90_000)),
    ],
)
def test_any_rate_is_one_that_a_file_holds(fps, kept):
    timestamps = OutputTimestamps(fps)
    assert timestamps.fps == kept
    assert timestamps.clock % kept.numerator == 0
    assert timestamps.gap == timestamps.clock / kept <= MOST_TICKS
    assert timestamps.clock >= 10_000


@pytest.mark.parametrize("fps", [0, -3, float("nan"), float("inf")])
def test_what_is_no_rate(fps):
    with pytest.raises(UsageError, match=r"fps: expected a number above 0, got"):
        OutputTimestamps(fps)


TIMES = {
    "5000 per second": (5000, [n / 5000 for n in range(4)]),
    "one in 200 seconds": (Fraction(1, 200), [200.0 * n for n in range(4)]),
    "one in an hour": (Fraction(1, 3600), [3600.0 * n for n in range(4)]),
    "within a tick": (30, [n * 1e-7 for n in range(4)]),
    "within a millisecond, then late": (30, [0.0, 1e-4, 2e-4, 5.0, 5.000001]),
    "a rate that is none": (1e9, [0.0, 0.04, 0.08]),
    "microseconds": (1e6, [n * 1e-6 for n in range(5)]),
}


@pytest.mark.parametrize("case", TIMES)
def test_writers_take_the_times_of_any_source(tmp_path, picture, read_index, case):
    fps, times = TIMES[case]
    with VideoWriter(tmp_path / "o.mp4", (120, 160), fps, crf=10) as writer:
        for index, time in enumerate(times):
            writer.write(picture(index, 120, 160), time)
    frames = list(VideoReader(tmp_path / "o.mp4"))
    assert [read_index(frame.image) for frame in frames] == list(range(len(times)))
    # A picture within a tick of the one before it gets the next tick.
    tick = 1 / writer._timestamps.clock
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], times, atol=(len(times) - 0.5) * tick)
    with AlphaVideoWriter(tmp_path / "o.webm", (32, 32), fps) as alpha:
        for time in times:
            alpha.write(np.zeros((32, 32, 4), np.uint8), time)
    assert len(list(VideoReader(tmp_path / "o.webm"))) == len(times)


def test_a_pause_that_no_file_holds_is_shortened_and_told(tmp_path, picture, read_index):
    times = [0.0, 0.1, 20_000.0, 20_000.1, 50_000.0]
    told = r"a pause of 20,000 s is longer than the 2,983 s that a video file holds, and is shortened"
    with VideoWriter(tmp_path / "o.mp4", (120, 160), 10, crf=10) as writer:
        for index, time in enumerate(times):
            if index == 2:
                with pytest.warns(FallbackWarning, match=told):
                    writer.write(picture(index, 120, 160), time)
            else:
                writer.write(picture(index, 120, 160), time)
    frames = list(VideoReader(tmp_path / "o.mp4"))
    assert [read_index(frame.image) for frame in frames] == list(range(5))
    np.testing.assert_allclose(np.diff([f.pts_seconds for f in frames]), [0.1, 2982.6, 0.1, 2982.6], atol=0.1)


@pytest.mark.parametrize("fps", [Fraction(1, 200), 5000, 30])
@pytest.mark.parametrize("timed", [False, True])
def test_joined_parts_go_on_with_the_step(tmp_path, picture, read_index, fps, timed):
    parts, starts = [], []
    step = Fraction(1) / Fraction(fps)
    for begin in (0, 3, 4):
        parts.append(tmp_path / f"{begin}.mp4")
        starts.append(float(begin * step))
        with VideoWriter(parts[-1], (120, 160), fps, crf=10) as writer:
            for index in range(begin, {0: 3, 3: 4, 4: 8}[begin]):
                writer.write(picture(index, 120, 160), float(index * step) if timed else None)
    concat_parts(parts, tmp_path / "o.mp4", fps, starts=starts if timed else None)
    frames = list(VideoReader(tmp_path / "o.mp4"))
    assert [read_index(frame.image) for frame in frames] == list(range(8))
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(8) * float(step), rtol=1e-9)
    assert VideoReader(tmp_path / "o.mp4").info.duration_seconds == pytest.approx(8 * float(step), rel=1e-6)


def test_parts_whose_starts_are_too_near_still_rise(tmp_path, picture, read_index):
    parts = []
    for number in range(3):
        parts.append(tmp_path / f"{number}.mp4")
        with VideoWriter(parts[-1], (120, 160), 30, crf=10) as writer:
            for index in range(3):
                writer.write(picture(3 * number + index, 120, 160), (3 * number + index) * 1e-7)
    concat_parts(parts, tmp_path / "o.mp4", 30, starts=[number * 3e-7 for number in range(3)])
    frames = list(VideoReader(tmp_path / "o.mp4"))
    assert [read_index(frame.image) for frame in frames] == list(range(9))
    assert (np.diff([frame.pts_seconds for frame in frames]) > 0).all()

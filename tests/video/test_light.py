"""High dynamic range and interlaced video: known light and known lines, and the pictures they must give."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import HdrVideoWarning, InterlacedVideoWarning, VideoError
from vis.video import RandomAccessReader, VideoReader, hdr


def pq_code(nits: float) -> float:
    """SMPTE ST 2084, equation 5, written from the standard's constants."""
    part = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * part) / (1 + 18.6875 * part)) ** 78.84375


def standard(nits: float) -> float:
    """8-bit code value of a BT.1886 screen whose white is 203 nits."""
    return 255 * (nits / 203) ** (1 / 2.4)


@pytest.mark.parametrize("nits", [5.0, 20.0, 50.0, 80.0])
def test_below_the_knee_light_is_what_it_was(nits):
    image = np.full((4, 4, 3), round(255 * pq_code(nits)), np.uint8)
    exact = standard(float(hdr._pq_to_nits(np.array(image[0, 0, 0] / 255))))
    np.testing.assert_allclose(hdr.to_standard_range(image, hdr.PQ), exact, atol=1.5)


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_grey_stays_grey_rises_and_ends_at_white(transfer):
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    shown = hdr.to_standard_range(image, transfer).astype(int)
    assert np.ptp(shown, axis=2).max() <= 1
    assert (np.diff(shown[0, :, 0]) >= 0).all()
    assert shown[0, 0, 0] == 0
    assert shown[0, 255].min() >= 254
    # 1000 nits and all above are white; 203 nits (58 % of PQ, 75 % of HLG) keep room above them.
    white = round(255 * (pq_code(203) if transfer == hdr.PQ else 0.75))
    assert 200 < shown[0, white, 0] < 250


def test_known_values_of_the_standards():
    assert hdr._pq_to_nits(np.array(0.5081)) == pytest.approx(100, rel=2e-3)  # BT.2408 table: 100 nits
    assert hdr._nits_to_pq(np.array(203.0)) == pytest.approx(0.5807, abs=1e-4)
    # BT.2100: 50 % of HLG is a twelfth of the scene's light; BT.2408: 75 % is 203 nits on a screen of 1000.
    scene = hdr._hlg_to_scene(np.array([0.5, 0.75, 1.0]))
    np.testing.assert_allclose([scene[0], *(1000 * scene[1:] ** 1.2)], [1 / 12, 203, 1000], rtol=5e-3)


def test_a_colour_of_bt709_comes_back_pure():
    # Red of BT.709 at 40 nits, expressed in BT.2020 primaries (BT.2087, the inverse of its matrix).
    light = np.linalg.inv(hdr._TO_BT709) @ np.array([40.0, 0, 0])
    image = np.array([[[round(255 * pq_code(max(value, 0))) for value in light]]], np.uint8)
    red, green, blue = hdr.to_standard_range(image, hdr.PQ)[0, 0].astype(int)
    assert abs(red - standard(40)) < 6
    assert max(green, blue) < 45


def test_the_reader_maps_tones_with_the_right_matrix(make_clip):
    clip = make_clip(
        "hdr.mp4", codec="libx265", pix_fmt="yuv420p10le", frames=3, transfer=16, options={"crf": "5"}
    )
    with pytest.warns(HdrVideoWarning):
        frames = list(VideoReader(clip))
    stored = np.full((1, 1, 3), 96, np.uint8)  # the clip's grey, a PQ code value
    want = hdr.to_standard_range(stored, hdr.PQ)[0, 0].astype(int)
    grey = frames[1].image[60:100, 2:10].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(grey, want, atol=3)
    with RandomAccessReader(clip) as reader:
        assert reader.backend == "pyav"
        np.testing.assert_array_equal(reader[1].image, frames[1].image)
    with pytest.raises(VideoError, match=r"decord does not read it exactly \(its dynamic range is high\)"):
        RandomAccessReader(clip, reader="decord")


def write_interlaced(path: Path, frames: int = 12, size=(120, 160)) -> Path:
    """A bright bar that moves 4 pixels per field; even lines show the earlier moment."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.options = {"crf": "8", "x264-params": "tff=1:keyint=4:min-keyint=4:scenecut=0"}
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = np.full((*size, 3), 60, np.uint8)
            for line in (0, 1):
                left = 8 + 8 * index + 4 * line
                picture[line::2, left : left + 24] = 220
            shown = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            shown.pts, shown.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path


def combs(image: np.ndarray) -> float:
    """How far lines stand out from the mean of their neighbours, at the worst column."""
    grey = image.astype(float).mean(axis=2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean(axis=0).max())


@pytest.mark.parametrize("name", ["i.mp4", "i.ts"])
def test_interlaced_pictures_are_made_whole(name, tmp_path):
    path = write_interlaced(tmp_path / name)
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert min(combs(image) for image in stored) > 60  # it is really interlaced
    with pytest.warns(InterlacedVideoWarning, match=r"i\.(mp4|ts): interlaced"):
        frames = list(VideoReader(path))
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], np.arange(12) / 25, atol=1e-6)
    assert max(combs(frame.image) for frame in frames) < 25
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterlacedVideoWarning)
        for start in (1, 4, 7, 8):  # 4 and 8 are key frames: the picture before them is needed too
            later = next(iter(VideoReader(path, start_frame=start)))
            np.testing.assert_array_equal(later.image, frames[start].image)
        with RandomAccessReader(path) as reader:
            assert len(reader) == 12
            for index in (11, 4, 5, 0):
                np.testing.assert_array_equal(reader[index].image, frames[index].image)


def test_progressive_video_is_not_touched(make_clip):
    clip = make_clip(frames=4)
    assert not VideoReader(clip).interlaced
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(VideoReader(clip))


def test_without_the_filter_it_is_said(tmp_path, monkeypatch):
    from vis.video import deinterlace

    path = write_interlaced(tmp_path / "i.mp4", frames=4)
    monkeypatch.setattr(deinterlace, "is_available", lambda: False)
    with pytest.warns(InterlacedVideoWarning, match="has no filter bwdif"):
        frames = list(VideoReader(path))
    assert len(frames) == 4
    assert combs(frames[1].image) > 60

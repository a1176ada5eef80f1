"""Folders of images as videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vis.errors import TruncatedVideoWarning, UsageError, VideoError
from vis.video import FolderReader, RandomAccessReader, VideoLimits, open_source, probe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures, 1.png to 12.png, whose grey is ten times their number; and things that are none."""
    place = tmp_path / "my clip"
    place.mkdir()
    for number in range(1, 13):
        Image.fromarray(np.full((20, 30, 3), 10 * number, np.uint8)).save(place / f"{number}.png")
    (place / "notes.txt").write_text("no image")
    (place / ".hidden.png").write_text("no image")
    (place / "sub.png").mkdir()
    return place


def test_natural_order_times_and_info(folder):
    source = open_source(folder, fps=25)
    frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10 * n for n in range(1, 13)]
    assert [frame.pts_seconds for frame in frames] == [n / 25 for n in range(12)]
    assert source.info == probe(folder).__class__(
        name="my clip", height=20, width=30, num_frames=12, fps=25, duration_seconds=12 / 25
    )


def test_without_a_rate_seconds_are_indices(folder):
    source = open_source(folder, start_seconds=3, end_frame=9, stride=2)
    assert [(frame.index, frame.pts_seconds) for frame in source] == [(3, 3.0), (5, 5.0), (7, 7.0)]
    assert source.info.fps is None
    assert source.expected_frames == 3


def test_numbers_sort_as_numbers_and_zeros_do_not_matter(tmp_path):
    names = ["f9.JPG", "f010.jpg", "f11.jpeg", "g1.jpg"]
    for name in reversed(names):
        Image.new("RGB", (4, 4)).save(tmp_path / name, format="JPEG")
    assert [path.name for path in FolderReader(tmp_path).images] == names


def test_sizes_must_agree(folder):
    Image.new("RGB", (31, 20)).save(folder / "5.png")
    with pytest.raises(
        VideoError, match=r"5.png: 31x20 pixels where the folder's first image has 30x20; all"
    ):
        list(open_source(folder))


def test_an_image_that_does_not_decode(folder):
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(TruncatedVideoWarning, match=r"1 of 12 images do not decode \(3.png first\)"):
        indices = [frame.index for frame in open_source(folder)]
    assert indices == [0, 1, *range(3, 12)]
    with pytest.raises(VideoError, match=r"3.png: the image does not decode"):
        list(open_source(folder, strict=True))


def test_a_start_beyond_the_last_image(folder):
    with pytest.raises(
        UsageError, match=r"my clip: starts at frame 12, but has only frames 0 to 11; start earlier"
    ):
        open_source(folder, start_frame=12)
    (folder / "3.png").write_text("no image")
    with pytest.raises(VideoError, match="not one image between the start and the end asked for decodes"):
        list(open_source(folder, start_frame=2, end_frame=3))


def test_no_image_decodes(folder):
    for path in folder.glob("*.png"):
        if path.is_file():
            path.write_text("no image")
    with pytest.raises(VideoError, match=r"my clip: not one of 12 images decodes; first: .*1.png"):
        open_source(folder)


def test_an_image_over_the_limit(folder):
    with pytest.raises(VideoError, match="over the limit of 500 pixels per frame"):
        open_source(folder, limits=VideoLimits(pixels_per_frame=500))
    with pytest.raises(VideoError, match="12 frames, over the limit of 11"):
        open_source(folder, limits=VideoLimits(frames=11))


def test_modes_become_rgb(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "1.png")
    Image.merge("RGBA", [Image.fromarray(grey)] * 4).save(tmp_path / "2.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "3.png")
    for frame in open_source(tmp_path):
        np.testing.assert_array_equal(frame.image, np.repeat(grey[:, :, None], 3, axis=2))


def test_orientation_tag_is_applied(tmp_path):
    image = np.zeros((10, 20, 3), np.uint8)
    image[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by 90 degrees
    Image.fromarray(image).save(tmp_path / "0.png", exif=exif)
    frame = next(iter(open_source(tmp_path)))
    np.testing.assert_array_equal(frame.image, np.rot90(image, -1))


def test_random_access(folder):
    with RandomAccessReader(folder, fps=10) as reader:
        assert (reader.backend, len(reader)) == ("images", 12)
        assert (int(reader[7].image[0, 0, 0]), reader[7].pts_seconds) == (80, 0.7)


def test_a_rate_must_be_positive(folder):
    with pytest.raises(UsageError, match="fps: expected more than 0, got 0"):
        open_source(folder, fps=0)


@pytest.mark.shared_data
def test_a_real_folder(shared_data):
    source = open_source(shared_data / "davis16/JPEGImages/480p/camel")
    assert source.info.size == (480, 854)
    assert [frame.index for frame in source] == list(range(90))


def test_the_former_name_of_the_frame_range_warns(folder):
    source = open_source(folder, start_frame=2)
    with pytest.warns(DeprecationWarning, match=r"FolderReader\.span is now called frame_range"):
        assert source.span == source.frame_range

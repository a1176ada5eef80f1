"""Images of more than 8 bits, of several pages, and missing ones: one range, every page, nothing silent."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vis.errors import TruncatedVideoWarning, UsageError, ValueRangeWarning, VideoError
from vis.video import FolderReader, IsolatedReader, RandomAccessReader, VideoLimits, open_source, probe
from vis.video.folder import ImageList
from vis.video.images import ImagePage, ImageReader
from vis.video.value_range import range_of


def scene(index: int) -> np.ndarray:
    """Grey 60, and a square of 230 that moves; uint8 (24, 32)."""
    grey = np.full((24, 32), 60, np.uint8)
    grey[8:16, index : index + 8] = 230
    return grey


def write(folder: Path, make, *, count: int = 20, suffix: str = "tif") -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(make(index)).save(folder / f"{index:05d}.{suffix}")
    return folder


def read(source) -> tuple[list, list[tuple[type, str]]]:
    """Frames, and the warnings that came with them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = list(source)
    return frames, [(w.category, str(w.message)) for w in caught]


DEEP = {
    "12 of 16 bits": (lambda n: scene(n).astype(np.uint16) * 16, "png", "0 (black) to 4095"),
    "12 of 16 bits in TIFF": (lambda n: scene(n).astype(np.uint16) * 16, "tif", "0 (black) to 4095"),
    "8 of 16 bits": (lambda n: scene(n).astype(np.uint16), "png", "0 (black) to 255"),
    "int32": (lambda n: scene(n).astype(np.int32), "tif", "0 (black) to 255"),
    "float from 0 to 1": (lambda n: scene(n).astype(np.float32) / 255, "tif", "0 (black) to 1 (white)"),
    "float from 0 to 255": (lambda n: scene(n).astype(np.float32), "tif", "0 (black) to 255"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_one_range_for_the_folder_told_once(tmp_path, kind):
    make, suffix, told = DEEP[kind]
    source = open_source(write(tmp_path / "in", make, suffix=suffix))
    frames, said = read(source)
    assert [frame.index for frame in frames] == list(range(20))
    for frame in frames:
        # 12 bits end at 4095, not at 255 * 16: 230 comes out as 229.
        np.testing.assert_allclose(frame.image, np.repeat(scene(frame.index)[..., None], 3, 2), atol=1)
    ((kind_of_warning, text),) = said
    assert kind_of_warning is ValueRangeWarning
    assert told in text
    assert "--value-range LOW HIGH" in text
    assert read(source)[1] == []


def test_all_of_16_bits_is_no_guess(tmp_path):
    frames, said = read(
        open_source(write(tmp_path / "in", lambda n: scene(n).astype(np.uint16) * 257, suffix="png"))
    )
    assert said == []
    for frame in frames:
        np.testing.assert_array_equal(frame.image[..., 0], scene(frame.index))


def test_never_per_image(tmp_path):
    """A folder that grows brighter: each image has its own place in the common range."""
    make = lambda n: np.full((8, 8), 100 * (n + 1), np.uint16)  # noqa: E731
    frames, _ = read(open_source(write(tmp_path / "in", make, suffix="png")))
    greys = [int(frame.image[0, 0, 0]) for frame in frames]
    np.testing.assert_allclose(greys, [100 * (n + 1) * 255 / 2047 for n in range(20)], atol=0.51)
    late, _ = read(open_source(tmp_path / "in", start_frame=15, stride=2))
    assert [int(frame.image[0, 0, 0]) for frame in late] == greys[15::2]


def test_values_beyond_a_range_that_was_guessed_are_told(tmp_path):
    # The sample of 16 out of 100 misses image 50.
    make = lambda n: np.full((8, 8), 5000 if n == 50 else 1000, np.uint16)  # noqa: E731
    source = open_source(write(tmp_path / "in", make, count=100, suffix="png"))
    frames, said = read(source)
    assert int(frames[50].image[0, 0, 0]) == 255
    assert "0 (black) to 1023" in said[0][1]
    assert said[1][0] is ValueRangeWarning
    assert "1 of 100 images (00050.png first) hold values beyond the range" in said[1][1]
    frames, said = read(open_source(tmp_path / "in", value_range=(0, 10000)))
    assert said == []
    assert [int(frames[n].image[0, 0, 0]) for n in (0, 50)] == [26, 128]


def test_a_range_that_is_given_is_taken(tmp_path):
    folder = write(tmp_path / "in", lambda n: scene(n).astype(np.int32) * 10 - 1000)
    frames, said = read(open_source(folder, value_range=(-1000, 1550)))
    assert said == []
    np.testing.assert_array_equal(frames[3].image[..., 0], scene(3))
    with RandomAccessReader(folder, value_range=(-1000, 1550)) as reader:
        np.testing.assert_array_equal(reader[3].image, frames[3].image)
    with IsolatedReader(folder, value_range=(-1000, 1550)) as isolated:
        np.testing.assert_array_equal(next(iter(isolated)).image, frames[0].image)
    for wrong in ((5, 5), (9, 1), (0, float("nan")), (0, float("inf"))):
        with pytest.raises(UsageError, match=r"value_range: expected two numbers, black before white"):
            open_source(folder, value_range=wrong)
    with pytest.raises(UsageError, match="value_range is for images of more than 8 bits, and these have 8"):
        open_source(write(tmp_path / "eight", scene), value_range=(0, 100))


def test_every_way_to_deep_images_tells_and_scales_alike(tmp_path):
    folder = write(tmp_path / "in", DEEP["12 of 16 bits"][0], suffix="png")
    frames, _ = read(open_source(folder))
    with pytest.warns(ValueRangeWarning), RandomAccessReader(folder) as reader:
        np.testing.assert_array_equal(reader[7].image, frames[7].image)
    listed = ImageList.open("in", [str(path) for path in sorted(folder.iterdir())])
    with pytest.warns(ValueRangeWarning):
        np.testing.assert_array_equal(list(listed)[7].image, frames[7].image)
    with IsolatedReader(folder) as isolated, pytest.warns(ValueRangeWarning):
        np.testing.assert_array_equal(list(isolated)[7].image, frames[7].image)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([np.uint16(0), np.uint16(3)], (0, 255)),
        ([np.uint16(256)], (0, 511)),
        ([np.uint16(65535)], (0, 65535)),
        ([np.int32(-5), np.int32(100)], (-5, 100)),
        ([np.int32(-5)], (-5, -4)),
        ([np.uint32(2**32 - 1)], (0, 2**32 - 1)),
        ([np.float32(0), np.float32(0.5)], (0, 1)),
        ([np.float32(0.01)], (0, 0.01)),
        ([np.float32(3.0)], (0, 3)),
        ([np.float32(200)], (0, 255)),
        ([np.float32(300)], (0, 511)),
        ([np.float32(-1), np.float32(1)], (-1, 1)),
        ([np.float32("nan"), np.float32("inf"), np.float32(0.7)], (0, 1)),
        ([np.float32("nan")], (0, 1)),
        ([np.float32(0)], (0, 1)),
    ],
    ids=str,
)
def test_ranges(values, wanted):
    assert range_of(np.array([[value]]) for value in values) == pytest.approx(wanted)


def test_nan_is_black_and_infinity_is_cut(tmp_path):
    image = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    Image.fromarray(image).save(tmp_path / "0.tif")
    frames, _ = read(open_source(tmp_path))
    assert frames[0].image[0, :, 0].tolist() == [0, 0, 255, 128]


def png_of_16_bits(values: np.ndarray, *, colour_type: int) -> bytes:
    """A PNG file of uint16 (H, W, C); colour types: 2 RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_colours_of_more_than_8_bits(tmp_path):
    """Pillow cuts these to 8 bits, or does not open them."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 4096, (4, 6, 3)).astype(np.uint16)
    colours[0, 0] = 4095, 0, 0
    alpha = np.full((4, 6, 1), 65535, np.uint16)
    (tmp_path / "0.png").write_bytes(png_of_16_bits(colours, colour_type=2))
    (tmp_path / "1.png").write_bytes(png_of_16_bits(np.concatenate([colours, alpha], 2), colour_type=6))
    cv2.imwrite(str(tmp_path / "2.tif"), colours[..., ::-1])
    cv2.imwrite(str(tmp_path / "3.tif"), colours[..., ::-1].astype(np.float32))
    cv2.imwritemulti(str(tmp_path / "4.tif"), [colours[..., ::-1], colours[::-1, :, ::-1]])
    (tmp_path / "5.png").write_bytes(
        png_of_16_bits(np.concatenate([colours[..., :1], alpha], 2), colour_type=4)
    )
    cv2.imwrite(str(tmp_path / "6.tif"), colours[..., 0].astype(np.float64))
    frames, said = read(open_source(tmp_path))
    assert "0 (black) to 4095" in said[0][1]
    wanted = np.rint(colours * (255 / 4095)).astype(int)
    grey = wanted[..., :1].repeat(3, 2)
    for frame, want in zip(frames, [wanted] * 5 + [wanted[::-1], grey, grey], strict=True):
        np.testing.assert_allclose(frame.image, want, atol=1)
    # Their headers are looked at before they are decoded, too.
    for name in ("0.png", "2.tif", "3.tif", "4.tif"):
        with pytest.raises(VideoError, match=rf"{name}.*6x4 pixels, over the limit of 20"):
            ImageReader(VideoLimits(pixels_per_frame=20)).values(ImagePage(tmp_path / name))


def test_a_damaged_png_of_many_bits_makes_no_room(tmp_path, monkeypatch):
    data = bytearray(png_of_16_bits(np.zeros((4, 6, 3), np.uint16), colour_type=2))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 2**31)  # so long a part it says, and OpenCV would make room for it
    (tmp_path / "0.png").write_bytes(data)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it is asked to decode the file"))
    with pytest.raises(VideoError, match=r"0\.png: the image does not decode"):
        ImageReader().values(ImagePage(tmp_path / "0.png"))


def test_signs_and_32_bits(tmp_path):
    big = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    cv2.imwrite(str(tmp_path / "0.tif"), big)
    assert read(open_source(tmp_path))[0][0].image[0, :, 0].tolist() == [0, 128, 255]
    cv2.imwrite(str(tmp_path / "0.tif"), np.array([[-100, 0, 155]], np.int16))
    assert read(open_source(tmp_path))[0][0].image[0, :, 0].tolist() == [0, 100, 255]


def test_a_deep_image_among_others_of_8_bits_is_missing_and_told(tmp_path):
    folder = write(tmp_path / "in", scene, count=100, suffix="png")
    Image.fromarray(scene(0).astype(np.uint16) * 16).save(folder / "00050.png")  # not in the sample
    source = open_source(folder)
    frames, said = read(source)
    assert [frame.index for frame in frames] == [n for n in range(100) if n != 50]
    ((kind, text),) = said
    assert kind is TruncatedVideoWarning
    assert "1 of 100 images do not decode (00050.png first)" in text
    assert "its values have more than 8 bits, and those of the other images have 8" in text
    with pytest.raises(VideoError, match=r"00050\.png: its values have more than 8 bits"):
        list(open_source(folder, strict=True))
    with RandomAccessReader(folder) as reader:
        assert (len(reader), reader[51].index) == (100, 51)
        with pytest.raises(VideoError, match="more than 8 bits"):
            reader[50]


def test_links_that_lead_nowhere_keep_their_number_and_are_told(tmp_path):
    folder = write(tmp_path / "in", scene, suffix="png")
    for index in (0, 5, 19):
        (folder / f"{index:05d}.png").unlink()
        (folder / f"{index:05d}.png").symlink_to(tmp_path / "gone.png")
    source = open_source(folder)
    assert (source.info.num_frames, source.info.size) == (20, (24, 32))
    frames, said = read(source)
    assert [frame.index for frame in frames] == [n for n in range(20) if n not in (0, 5, 19)]
    ((kind, text),) = said
    assert kind is TruncatedVideoWarning
    assert "3 of 20 images do not decode (00000.png first)" in text
    assert "this link leads nowhere" in text
    with pytest.raises(VideoError, match="this link leads nowhere"):
        list(open_source(folder, strict=True))


def test_a_file_that_goes_away_is_told(tmp_path):
    folder = write(tmp_path / "in", scene, count=3, suffix="png")
    source = open_source(folder)
    (folder / "00001.png").unlink()
    frames, said = read(source)
    assert [frame.index for frame in frames] == [0, 2]
    assert "00001.png: no such file" in said[0][1]


def save_pages(path: Path, images: list[np.ndarray], **options) -> Path:
    first, *others = [Image.fromarray(image) for image in images]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def test_pages_are_frames(tmp_path):
    (tmp_path / "in").mkdir()
    save_pages(tmp_path / "in" / "a.tif", [scene(n) for n in range(4)])
    save_pages(tmp_path / "in" / "b.tiff", [scene(n) for n in range(4, 6)], compression="tiff_lzw")
    Image.fromarray(scene(6)).save(tmp_path / "in" / "c.tif")
    source = FolderReader(tmp_path / "in", fps=10)
    assert [page.name for page in source.images] == [
        *(f"a.tif[{n}]" for n in range(4)),
        "b.tiff[0]",
        "b.tiff[1]",
        "c.tif",
    ]
    frames, said = read(source)
    assert said == []
    assert [frame.pts_seconds for frame in frames] == [n / 10 for n in range(7)]
    for frame in frames:
        np.testing.assert_array_equal(frame.image[..., 0], scene(frame.index))
    assert [frame.index for frame in read(open_source(tmp_path / "in", start_frame=1, stride=3))[0]] == [1, 4]
    with RandomAccessReader(tmp_path / "in") as reader:
        for index in (6, 0, 5, 2, 1):
            np.testing.assert_array_equal(reader[index].image, frames[index].image)


def test_a_file_of_pages_is_a_video_by_itself(tmp_path):
    stack = save_pages(tmp_path / "stack.tif", [scene(n).astype(np.uint16) * 16 for n in range(30)])
    assert (probe(stack).name, probe(stack).num_frames, probe(stack).size) == ("stack", 30, (24, 32))
    frames, said = read(open_source(stack))
    assert len(frames) == 30
    assert "0 (black) to 4095" in said[0][1]
    np.testing.assert_allclose(frames[20].image[..., 1], scene(20), atol=1)
    with pytest.warns(ValueRangeWarning):
        reader = RandomAccessReader(stack)
    with reader:
        assert (reader.backend, len(reader)) == ("images", 30)
        np.testing.assert_array_equal(reader[20].image, frames[20].image)


def test_pages_cut_off_are_missing_and_told(tmp_path):
    stack = save_pages(tmp_path / "stack.tif", [scene(n) for n in range(6)])
    data = bytearray(stack.read_bytes())
    # Page 3's strip lies beyond the end of the file.
    directory = struct.unpack("<I", data[4:8])[0]
    for _ in range(3):
        count = struct.unpack("<H", data[directory : directory + 2])[0]
        directory = struct.unpack("<I", data[directory + 2 + 12 * count :][:4])[0]
    count = struct.unpack("<H", data[directory : directory + 2])[0]
    entries = range(directory + 2, directory + 2 + 12 * count, 12)
    at = next(e for e in entries if data[e : e + 2] == b"\x11\x01")
    data[at + 8 : at + 12] = struct.pack("<I", len(data) + 1000)
    stack.write_bytes(data)
    frames, said = read(open_source(stack))
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5]
    assert "1 of 6 images do not decode (stack.tif[3] first)" in said[0][1]


def test_smaller_copies_in_a_tiff_are_no_frames(tmp_path):
    from PIL import TiffImagePlugin

    reduced = TiffImagePlugin.ImageFileDirectory_v2()
    reduced[254] = 1
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "0.tif"), True) as file:
        for image, tags in ((scene(0), None), (scene(0)[::2, ::2], reduced), (scene(1), None)):
            Image.fromarray(image).save(file, format="TIFF", **({"tiffinfo": tags} if tags else {}))
            file.newFrame()
    frames, said = read(open_source(tmp_path))
    assert said == []
    assert [frame.image.shape for frame in frames] == [(24, 32, 3)] * 2
    np.testing.assert_array_equal(frames[1].image[..., 0], scene(1))


def test_a_tiff_of_endless_pages_meets_the_limit(tmp_path):
    stack = save_pages(tmp_path / "stack.tif", [scene(n) for n in range(6)])
    with pytest.raises(VideoError, match="over the limit"):
        open_source(stack, limits=VideoLimits(frames=5))
    data = bytearray(stack.read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * count : first + 6 + 12 * count] = data[4:8]  # the first page is followed by itself
    stack.write_bytes(data)
    assert probe(stack).num_frames == 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_orientation_is_the_same_in_header_and_pixels(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(3)).save(tmp_path / f"0.{suffix}", exif=exif)
    (frame,), _ = read(open_source(tmp_path))
    turned = np.rot90(scene(3), {3: 2, 6: -1, 8: 1}[orientation])
    np.testing.assert_allclose(frame.image[..., 0], turned, atol=40 if suffix == "jpg" else 0)
    assert probe(tmp_path).size == turned.shape


def test_one_photo_is_told_to_be_no_video(tmp_path):
    for name in ("photo.jpg", "photo.bmp"):
        Image.fromarray(scene(0)).save(tmp_path / name)
        with pytest.raises(VideoError, match=rf"{name}: one image is no video; give the folder"):
            open_source(tmp_path / name)


def test_names_that_are_no_utf8(tmp_path, make_clip):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(scene(index)).save(str(folder / f"\udcff{index}.png"))
    save_pages(folder / "\udcff3.tif", [scene(3), scene(4)])
    frames, _ = read(open_source(folder))
    assert len(frames) == 5
    clip = make_clip(frames=5)
    odd = clip.rename(tmp_path / "\udcff.mp4")
    assert len(read(open_source(odd))[0]) == 5
    with RandomAccessReader(odd) as reader:
        assert reader[4].index == 4
    with IsolatedReader(odd) as isolated:
        assert len(list(isolated)) == 5
    with pytest.raises(VideoError, match="decord does not read it exactly"):
        open_source(odd, reader="decord")
    odd.write_bytes(b"no video")
    with pytest.raises(VideoError, match="not a video that can be opened"):
        open_source(odd)

"""Video with transparency: alpha read back as it was given, times kept, and shown by a browser."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vis.errors import OutputError, UsageError, VideoError
from vis.video import AlphaVideoWriter, ProResWriter, VideoReader, read_alpha


def disc(index: int, height: int, width: int) -> np.ndarray:
    """A disc that moves, on a clear background with a half-clear band at the top; colours under all of it."""
    y, x = np.mgrid[:height, :width]
    image = np.empty((height, width, 4), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 180, x * 200 // width, 60
    image[..., 3] = np.where((y - height * 0.6) ** 2 + (x - width * 0.3 - 2 * index) ** 2 < 900, 255, 0)
    image[: height // 8, :, 3] = 128
    return image


def write(path: Path, *, frames: int = 12, size=(120, 160), fps=Fraction(30000, 1001), times=None) -> Path:
    with AlphaVideoWriter(path, size, fps, quality=10) as writer:
        for index in range(frames):
            writer.write(disc(index, *size), None if times is None else times[index])
    return path


@pytest.mark.parametrize("size", [(120, 160), (121, 163)])
def test_alpha_and_colours_come_back(tmp_path, size):
    path = write(tmp_path / "o.webm", size=size)
    shown = list(read_alpha(path))
    assert len(shown) == 12
    np.testing.assert_allclose([pts for pts, _ in shown], np.arange(12) * 1001 / 30000, atol=6e-4)
    for index, (_, image) in enumerate(shown):
        given = disc(index, *size).astype(int)
        assert image.shape == given.shape
        np.testing.assert_array_equal(image[..., 3], given[..., 3])
        inside = given[..., 3] == 255
        assert np.abs(image[..., :3].astype(int) - given[..., :3])[inside].mean() < 4


def test_prores_keeps_alpha_and_colours(tmp_path, monkeypatch):
    times = [
        5.0,
        5.04,
        5.08,
        *np.arange(5.5, 8, 0.1),
    ]  # many: a race between threads shows on some frames only
    with ProResWriter(tmp_path / "o.mov", (121, 163), 25) as writer:
        for index, pts in enumerate(times):
            writer.write(disc(index, 121, 163), pts)
    with av.open(str(tmp_path / "o.mov")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.profile) == ("prores", "4444")
        shown = list(container.decode(stream))
    np.testing.assert_allclose([float(f.pts * f.time_base) for f in shown], np.array(times) - 5, atol=1e-3)
    for index, frame in enumerate(shown):
        image, given = frame.to_ndarray(format="rgba"), disc(index, 121, 163)
        pure = (given[..., 3] == 0) | (given[..., 3] == 255)
        np.testing.assert_array_equal(image[pure, 3], given[pure, 3])
        assert np.abs(image[..., 3].astype(int) - given[..., 3]).max() <= 1
        assert np.abs(image[..., :3].astype(int) - given[..., :3]).mean() < 2
    monkeypatch.setattr(av, "codecs_available", {"libvpx-vp9"})
    with pytest.raises(OutputError, match=r"no ProRes encoder.*WebM or PNG"):
        ProResWriter(tmp_path / "p.mov", (8, 8), 25)


def test_what_players_look_for(tmp_path):
    with av.open(str(write(tmp_path / "out" / "o.webm"))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "vp9"
        assert stream.metadata["ALPHA_MODE"] == "1"
        assert stream.average_rate == Fraction(30000, 1001)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["o.webm"]
    # Our reader, like every decoder that knows nothing of alpha, sees the colours.
    assert len(list(VideoReader(tmp_path / "out" / "o.webm"))) == 12


def test_variable_times_are_kept_to_the_millisecond(tmp_path):
    times = [5.0, 5.04, 5.0805, 5.5, 5.51, 7.25]
    path = write(tmp_path / "o.webm", frames=6, times=times)
    np.testing.assert_allclose([pts for pts, _ in read_alpha(path)], np.array(times) - 5.0, atol=6e-4)


def test_whole_or_not_at_all(tmp_path):
    old = tmp_path / "o.webm"
    old.write_bytes(b"what stood here before")

    def pictures():
        yield disc(0, 120, 160)
        raise KeyError("the caller's own")

    with pytest.raises(KeyError), AlphaVideoWriter(old, (120, 160), 30) as writer:
        list(map(writer.write, pictures()))
    assert old.read_bytes() == b"what stood here before"
    with pytest.raises(OutputError, match="not one frame"), AlphaVideoWriter(old, (8, 8), 30):
        pass
    writer = AlphaVideoWriter(old, (120, 160), 30)
    writer.write(disc(0, 120, 160))
    writer.frames_written += 1  # as if the encoder had lost one
    with pytest.raises(OutputError, match="2 frames were written and 1 read back"):
        writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["o.webm"]


def test_wrong_calls(tmp_path):
    for size, fps, options, said in (
        ((0, 8), 30, {}, r"size: expected a positive"),
        ((8, 8), 0, {}, r"fps: expected a number above 0"),
        ((8, 8), 30, {"quality": 64}, r"quality 0 to 63 and speed 0 to 8, got 64 and 6"),
    ):
        with pytest.raises(UsageError, match=said):
            AlphaVideoWriter(tmp_path / "o.webm", size, fps, **options)
    with AlphaVideoWriter(tmp_path / "o.webm", (120, 160), 30) as writer:
        with pytest.raises(ValueError, match=r"expected uint8\[120, 160, 4\], got uint8\[120, 160, 3\]"):
            writer.write(disc(0, 120, 160)[..., :3])
        writer.write(disc(0, 120, 160))
    with pytest.raises(OutputError, match="closed"):
        writer.write(disc(0, 120, 160))
    assert repr(writer) == f"AlphaVideoWriter({str(tmp_path / 'o.webm')!r}, 160x120, 30 fps, 1 frames)"


def test_files_without_alpha_are_told(tmp_path, make_clip):
    with pytest.raises(VideoError, match=r"codec is h264; expected VP9 with transparency"):
        next(read_alpha(make_clip(frames=3)))
    opaque = make_clip("c.webm", frames=3, codec="libvpx-vp9", options={"deadline": "realtime"})
    with pytest.raises(VideoError, match="has no alpha plane; read it with"):
        next(read_alpha(opaque))


PAGE = """<body style="margin:0;background:rgb(0,0,255)"><video id=v muted src="{name}"></video>"""
PIXEL = """async () => {
  const video = document.getElementById('v');
  await video.play();
  await new Promise(done => setTimeout(done, 300));
  video.pause();
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const paper = canvas.getContext('2d');
  paper.drawImage(video, 0, 0);
  const at = (x, y) => Array.from(paper.getImageData(x, y, 1, 1).data);
  return {error: video.error, time: video.currentTime, size: [video.videoWidth, video.videoHeight],
          clear: at(150, 110), band: at(80, 5), solid: at(85, 72)};
}"""


@pytest.mark.slow
def test_chromium_plays_it_with_its_transparency(tmp_path):
    pytest.importorskip("playwright", reason="Playwright is not installed")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    write(tmp_path / "o.webm", frames=30)
    (tmp_path / "page.html").write_text(PAGE.format(name="o.webm"))

    def look():
        with sync_playwright() as play:
            chromium = play.chromium.launch(
                executable_path=browser,
                args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--allow-file-access-from-files"],
            )
            page = chromium.new_page()
            page.set_default_timeout(60_000)
            page.goto((tmp_path / "page.html").as_uri())
            seen = page.evaluate(PIXEL)
            chromium.close()
        return seen

    # In a thread of its own: the page's tests may keep Playwright's loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        seen = thread.submit(look).result()
    assert (seen["error"], seen["size"]) == (None, [160, 120])
    assert seen["time"] > 0
    assert seen["clear"][3] < 10
    assert abs(seen["band"][3] - 128) < 10
    assert seen["solid"][3] > 245
    assert abs(seen["solid"][0] - 180) < 12

"""A clip of two coloured squares, networks that answer at once, and a served page in a real browser."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.model_cache import ModelCache, reader_of
from apps.demo.session import Sessions
from detectors.none import Nothing
from vis.edits import FrameDecoder
from vis.structures import Detections
from vis.video import VideoWriter

SIZE = (180, 320)
FRAMES = 24
RED, BLUE = (210, 40, 40), (40, 60, 210)


def squares(step: int) -> list[tuple[tuple[int, int, int], int, int]]:
    """(colour, x, y) of each square on a frame; the blue one leaves for frames 10 to 13."""
    found = [(RED, 20 + 4 * step, 40)]
    if not 10 <= step < 14:
        found.append((BLUE, 250 - 4 * step, 110))
    return found


def picture(step: int) -> np.ndarray:
    image = np.full((*SIZE, 3), 120, np.uint8)
    for colour, x, y in squares(step):
        image[y : y + 40, x : x + 40] = colour
    return image


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "two squares.mp4"
    with VideoWriter(path, SIZE, 12, crf=10) as writer:
        for step in range(FRAMES):
            writer.write(picture(step))
    return path


def coloured(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(image.astype(int) - colour).sum(axis=2) < 150


class ColourDetector:
    """The red and the blue square, with masks."""

    class_names = ("red thing", "blue thing")

    def detect(self, images):
        return [self._one(image) for image in images]

    def _one(self, image):
        boxes, masks, labels = [], [], []
        for label, colour in enumerate((RED, BLUE)):
            mask = coloured(image, colour)
            if mask.sum() > 100:
                ys, xs = np.nonzero(mask)
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                masks.append(mask)
                labels.append(label)
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(len(boxes), 0.8, np.float32),
            np.array(labels, np.int64),
            np.array(masks, np.bool_).reshape(-1, *image.shape[:2]),
        )


@dataclass(frozen=True)
class StandInEmbedding:
    image: np.ndarray
    by_hq: bool = True


class StandInPredictor:
    """The region of the colour under a click or in the middle of a box; plain SAM's is a pixel fatter."""

    mask_side = 256

    def embed(self, image):
        return StandInEmbedding(image)

    def predict_masks(self, embedding, prompts, which):
        """Logits at the frame's size: SAM's, and what HQ adds to them."""
        import torch

        hq = self.decode(embedding, boxes=prompts.boxes).masks
        sam = hq | np.roll(hq, 1, axis=2)
        plain, whole = (torch.from_numpy(np.where(masks, 1.0, -1.0)) for masks in (sam, hq))
        for row in range(len(hq)):
            yield [row], plain[row : row + 1, None], (whole - plain)[row : row + 1], None

    def logits_to_masks(self, logits, frame_size):
        return (logits.numpy() > 0,)

    def decode(self, embedding, *, boxes=None, points=None, point_labels=None, masks=None, multimask=False):
        image = embedding.image
        count = len(points if points is not None else boxes)
        found = np.zeros((count, *image.shape[:2]), np.bool_)
        for row in range(count):
            if points is not None:
                for (x, y), inside in zip(points[row], point_labels[row], strict=True):
                    region = coloured(image, image[int(y), int(x)])
                    found[row] = found[row] | region if inside else found[row] & ~region
            else:
                x0, y0, x1, y1 = boxes[row].astype(int)
                found[row] = coloured(image, image[(y0 + y1) // 2, (x0 + x1) // 2])
                found[row, :y0] = found[row, y1:] = found[row, :, :x0] = found[row, :, x1:] = False
        # As the real one does: an HQ-SAM takes no embedding of a plain SAM.
        assert embedding.by_hq
        logits = np.zeros((count, 256, 256), np.float32)
        if multimask:
            return SimpleNamespace(
                masks=np.stack([found, _left_part(found, 2), _left_part(found, 4)], axis=1),
                scores=np.ones((count, 3), np.float32),
                low_res_logits=np.repeat(logits[:, None], 3, axis=1),
            )
        return SimpleNamespace(masks=found, scores=np.ones(count, np.float32), low_res_logits=logits)


def _left_part(masks: np.ndarray, share: int) -> np.ndarray:
    """The left half, or quarter, of each mask's width."""
    parts = masks.copy()
    for part in parts:
        xs = np.flatnonzero(part.any(axis=0))
        if len(xs):
            part[:, xs[0] + max(1, len(xs) // share) :] = False
    return parts


class StandInDecoder(FrameDecoder):
    """Follows the colour that the object has most of; below a hundred pixels it is lost."""

    def carry(self, index, mask, onto):
        colour = tuple(np.median(self._image_of(index)[mask], axis=0).astype(int))
        for other in onto:
            found = coloured(self._image_of(other), colour)
            yield other, found if found.sum() > 100 else None, 0.75


class StandInJob:
    """As ``apps.job.Job``, with the colour detector and no refiner."""

    refiner = None

    def __init__(self, plan, before_frame: Callable[[int], None]) -> None:
        self.plan, self.before_frame = plan, before_frame
        self.detector = Nothing() if plan.detector == "none" else ColourDetector()
        self.class_names = self.detector.class_names

    def stream(self, source, *, quiet=True):
        from trackers.iou import IouTracker
        from vis.pipeline import track

        for item in track(source, self.detector, IouTracker(), min_score=self.plan.min_score):
            self.before_frame(item.frame.index)
            yield item

    def finish(self, result, frames):
        return result

    def made_with(self):
        options = {"model": self.plan.model, "detector": self.plan.detector}
        return {"program": "vis-tubes", "version": "test", "options": options}


class StandInModelCache(ModelCache):
    """Loads nothing. ``before_frame`` may be set to slow a run down or to fail in it."""

    def __init__(self) -> None:
        super().__init__()
        self.before_frame: Callable[[int], None] = lambda _index: None

    def job_of(self, plan):
        return StandInJob(plan, lambda index: self.before_frame(index))

    def predictor_of(self, model):
        return StandInPredictor()

    def decoder_of(self, session):
        if session.decoder is None:
            session.decoder = StandInDecoder(
                StandInPredictor(), lambda index: reader_of(session)[index].image
            )
        return session.decoder


@pytest.fixture
def stand_in_decoder() -> type[FrameDecoder]:
    return StandInDecoder


@pytest.fixture
def model_cache() -> StandInModelCache:
    return StandInModelCache()


@pytest.fixture
def handlers(tmp_path, model_cache) -> Handlers:
    return Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "page" / "cache")


@pytest.fixture
def visit(handlers, clip) -> str:
    """The token of a visitor whose run on the clip is done."""
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    assert "objects in 24 frames" in list(handlers.run(token, Form()))[-1].text
    return token


# ---------------------------------------------------------------- browser

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    # A camera that shows a moving pattern, and a visitor who allows it.
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to drive the page")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on PATH; apt-get install chromium to drive the page")
    playwright.expect.set_options(timeout=60_000)  # long for a busy machine; nothing waits for it
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Served:
    """A page on a port of its own."""

    url: str
    model_cache: Any
    folder: Path
    page: Any


def _serve(folder: Path, model_cache: Any, **settings: Any) -> Served:
    from apps.demo import make_page

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page, options = make_page(folder, model_cache=model_cache, warm=False, **settings)
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **options)
    return Served(f"http://127.0.0.1:{port}", model_cache, folder, page)


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Served]]:
    """Serve another page for one test."""
    for name in ("GRADIO_TEMP_DIR", "HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that they are put back
    running: list[Served] = []

    def start(folder: Path, **settings: Any) -> Served:
        running.append(_serve(folder, StandInModelCache(), **settings))
        return running[-1]

    yield start
    for page in running:
        page.page.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory, clip) -> Iterator[Served]:
    kept = {
        name: os.environ.get(name)
        for name in ("GRADIO_TEMP_DIR", "HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED")
    }
    running = _serve(tmp_path_factory.mktemp("served"), StandInModelCache(), offered=clip)
    yield running
    running.page.close()
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def ready(page: Any) -> None:
    """Wait until the server knows the visitor."""
    page.wait_for_function(
        "() => !(document.querySelector('#vt-status')?.innerText ?? 'Loading').includes('Loading')"
    )


@pytest.fixture
def arrived() -> Callable[[Any], None]:
    return ready


@pytest.fixture
def tab(chromium, served) -> Iterator[Any]:
    """A fresh visitor's tab. At its end: no console error, no request that leaves the machine or names its folders."""
    context = chromium.new_context(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "request",
        lambda r: (
            None
            if r.url.startswith((served.url, "data:", "blob:")) and str(served.folder) not in unquote(r.url)
            else complaints.append(r.url)
        ),
    )
    page.set_default_timeout(60_000)  # long for a busy machine; nothing waits for it
    page.goto(served.url)
    ready(page)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def shots(tmp_path) -> Callable[[Any, str], Path]:
    """Save a screenshot where $VISTUBES_SCREENSHOTS says, else beside the test's files."""
    folder = Path(os.environ.get("VISTUBES_SCREENSHOTS", tmp_path))

    def take(page: Any, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        return path

    return take

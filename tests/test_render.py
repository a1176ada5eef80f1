"""Overlays: who is drawn where and in which colour; and what must not change."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vis import masks, render, render_labels
from vis.errors import UsageError
from vis.interfaces import FrameSink
from vis.render import PALETTE, ContactSheet, OverlayWriter, Renderer, color_of, contact_sheet
from vis.render_objects import Room, Shape, draw_contour
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo
from vis.video import VideoReader

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(color) -> np.ndarray:
    value = np.asarray(color) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson 2020: linear RGB to a space where distances are about what is seen."""
    lms = (
        rgb
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    return (
        np.cbrt(lms)
        @ np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        ).T
    )


def detections(masks=None, boxes=None, ids=None, labels=None) -> Detections:
    count = len(masks if masks is not None else boxes)
    if boxes is None:
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1))
    return Detections(
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.full(count, 0.5, np.float32),
        labels=np.zeros(count, np.int64) if labels is None else np.asarray(labels, np.int64),
        masks=masks,
        track_ids=np.arange(1, count + 1) if ids is None else np.asarray(ids, np.int64),
    )


def two_blobs(size=(90, 140)) -> np.ndarray:
    masks = np.zeros((2, *size), np.bool_)
    masks[0, 20:60, 30:80] = True
    masks[1, 40:70, 60:120] = True
    return masks


@pytest.fixture
def scene() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("vision", "least"), [("normal", 0.11), ("protan", 0.08), ("deutan", 0.07), ("tritan", 0.06)]
)
def test_a_dozen_colours_are_told_apart_by_everybody(vision, least):
    # 0.02 is about what an eye just tells apart side by side.
    seen = [oklab(np.clip(linear(color) @ np.array(VISION[vision]).T, 0, 1)) for color in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen[:12], 2)) > least
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.04


def test_letters_have_contrast_on_every_colour():
    for color in PALETTE:
        light = linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05
        ink = linear(render_labels.ink_on(color)) @ [0.2126, 0.7152, 0.0722] + 0.05
        assert max(light, ink) / min(light, ink) > 4.5  # WCAG 2 AA


def test_only_masked_pixels_change_and_by_the_blend(scene):
    masks = two_blobs()
    before = scene.copy()
    drawn = Renderer(["a"], opacity=0.4, contours=False, labels=False).draw(
        scene, detections(masks[:1], ids=[5])
    )
    np.testing.assert_array_equal(scene, before)
    np.testing.assert_array_equal(drawn[~masks[0]], scene[~masks[0]])
    wanted = scene[masks[0]] * 0.6 + np.array(color_of(5)) * 0.4
    assert np.abs(drawn[masks[0]] - wanted).max() <= 0.5 + 1e-9


def test_a_colour_belongs_to_its_id_alone(scene):
    masks = two_blobs()
    renderer = Renderer(["a", "b"], contours=False, labels=False)
    both = renderer.draw(scene, detections(masks, ids=[3, 8]))
    turned = renderer.draw(scene, detections(masks[::-1].copy(), ids=[8, 3], labels=[1, 0]))
    np.testing.assert_array_equal(both, turned)
    alone = renderer.draw(scene, detections(masks[:1], ids=[3]))
    only_first = masks[0] & ~masks[1]
    np.testing.assert_array_equal(both[only_first], alone[only_first])
    assert len({color_of(i) for i in range(1, 25)}) == 24
    assert color_of(1) == color_of(25) != color_of(2)


def test_small_objects_lie_on_large_ones():
    masks = np.zeros((2, 60, 60), np.bool_)
    masks[0, 20:30, 20:30] = True
    masks[1] = True
    drawn = Renderer(["a"], opacity=1, contours=False, labels=False).draw(
        np.zeros((60, 60, 3), np.uint8), detections(masks)
    )
    assert tuple(drawn[25, 25]) == color_of(1)
    assert tuple(drawn[5, 5]) == color_of(2)


def test_contours_are_the_edge_in_full_colour():
    masks = two_blobs()[:1]
    drawn = Renderer(["a"], opacity=0, labels=False).draw(np.zeros((90, 140, 3), np.uint8), detections(masks))
    for y, x in [(20, 50), (59, 50), (40, 30), (40, 79)]:
        # Antialiasing takes a little off a line of one pixel.
        np.testing.assert_allclose(drawn[y, x], np.array(color_of(1)) * 0.95, rtol=0.06)
    assert not drawn[25:55, 35:75].any()
    assert not drawn[:17].any()


@pytest.mark.parametrize("line", [1, 2, 3, 5])
def test_a_contour_lies_on_the_edge_and_stays_in_the_frame(line):
    """Objects at the frame's edges, in its corner, of one pixel, and with a hole."""
    mask = np.zeros((60, 80), np.bool_)
    mask[0:30, 50:80], mask[45, 20], mask[50:60, 0:9] = True, True, True
    mask[10:20, 60:70] = False
    canvas = np.zeros((60, 80, 3), np.uint8)
    draw_contour(canvas, Shape((0, 0, 80, 60), mask), (200, 100, 50), line, Room(canvas.size))
    near = masks.boundary(mask, line + 1) | (masks.boundary(np.pad(~mask, 9), line + 1)[9:-9, 9:-9])
    assert not canvas[~near].any()
    padded = np.pad(mask, 1)
    beside = ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    assert (canvas[mask & beside] == (200, 100, 50)).all()


def test_run_lengths_draw_as_their_masks(scene):
    stack = np.concatenate([two_blobs(), np.zeros((1, 90, 140), np.bool_)])
    dense = detections(stack)
    sparse = replace(dense, masks=None)
    drawn = Renderer(["a"]).draw(scene, sparse, masks.encode_many(stack))
    np.testing.assert_array_equal(drawn, Renderer(["a"]).draw(scene, dense))


def test_boxes_are_half_open(scene):
    black = np.zeros_like(scene)
    drawn = Renderer(["a"], labels=False).draw(black, detections(boxes=[[10, 20, 50, 60]]))
    ys, xs = np.nonzero(drawn.any(axis=2))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (10, 20, 49, 59)


def test_nothing_to_draw_gives_an_equal_copy(scene):
    drawn = Renderer(["a"]).draw(scene, Detections.empty())
    np.testing.assert_array_equal(drawn, scene)
    assert drawn is not scene


def test_an_empty_mask_still_has_its_label_at_its_box(scene):
    found = detections(np.zeros((1, 90, 140), np.bool_), boxes=[[40, 50, 60, 70]])
    changed = (Renderer(["a"]).draw(scene, found) != scene).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert 30 <= ys.min() < ys.max() < 50
    assert xs.min() >= 40


def test_a_label_without_a_name_is_numbered():
    text = Renderer(["a"])._text(detections(boxes=[[0, 0, 9, 9]], labels=[7]), 0, 3)
    assert text == "class 7 3"
    assert Renderer(["a"], scores=True)._text(detections(boxes=[[0, 0, 9, 9]]), 0, 3) == "a 3  0.50"


def test_rows_without_ids_are_numbered(scene):
    masks = two_blobs()
    plain = Renderer(["a"]).draw(scene, detections(masks))
    bare = detections(masks)
    unnumbered = Detections(bare.boxes, bare.scores, bare.labels, bare.masks)
    np.testing.assert_array_equal(Renderer(["a"]).draw(scene, unnumbered), plain)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (37, 51)])
def test_any_size_and_places_outside(size):
    masks = np.ones((3, *size), np.bool_)
    boxes = [[-50, -50, 5, 5], [0, 0, 1, 1], [size[1], size[0], size[1] + 40, size[0] + 9]]
    image = np.zeros((*size, 3), np.uint8)
    for found in (detections(masks, boxes), detections(boxes=boxes)):
        assert Renderer(["a long name that does not fit"], boxes=True).draw(image, found).shape == image.shape


places = st.tuples(*[st.integers(-20, 220)] * 2, *[st.integers(0, 120)] * 2).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@given(st.lists(places, min_size=1, max_size=6))
def test_labels_stay_in_the_frame(rects):
    taken: list[tuple[int, int, int, int]] = []
    for rect in rects:
        spot = render_labels.find_spot(rect, (14, 60), (200, 200), taken)
        assert (spot[2] - spot[0], spot[3] - spot[1]) == (60, 14)
        assert 0 <= spot[0] <= 140
        assert 0 <= spot[1] <= 186
        taken.append(spot)


def test_labels_of_one_place_give_way():
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(6):
        taken.append(render_labels.find_spot((80, 60, 120, 160), (14, 40), (200, 200), taken))
    assert not any(render_labels.overlap(a, b) for a, b in combinations(taken, 2))


def test_a_sheet_is_a_grid_with_captions(scene):
    frames = [Frame(index, index / 10, scene) for index in range(5)]
    sheet = contact_sheet(frames, columns=3, width=70)
    assert sheet.shape == (2 * (45 + 34) + 12, 3 * (70 + 12) + 12, 3)
    small = render._small(scene, 70)
    np.testing.assert_array_equal(sheet[34 : 34 + 45, 12 : 12 + 70], small)
    assert (sheet[:34] > 150).any()  # letters
    with pytest.raises(UsageError, match="at least one frame"):
        contact_sheet([])


SHAPES = [(4096, 16), (16, 4096), (1, 1), (1, 5000), (5000, 1), (1920, 1080), (20, 16390)]


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_a_sheet_is_bounded_whatever_the_shape(tmp_path, size):
    height, width = size
    sheet = ContactSheet(tmp_path / "sheet.png", Renderer(["a"]))
    masks = np.zeros((1, *size), np.bool_)
    masks[:, height // 4 :, width // 4 :] = True
    found = detections(masks, boxes=[[0, 0, width, height]])
    image = np.full((*size, 3), 90, np.uint8)
    tracemalloc.start()
    try:
        for index in range(24):
            sheet.write(TrackedFrame(Frame(index, index / 10, image), found))
        sheet.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Twelve pictures of 640x1280 at most, a sheet of six of them, and what is between.
    assert peak < 80 * 2**20
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert drawn.shape[1] == 3 * (640 + 12) + 12
    assert drawn.shape[0] <= 2 * (1280 + 34) + 12
    assert (drawn[:34] > 150).any()  # the caption is whole, however narrow the picture


def test_a_very_tall_picture_stands_in_the_middle_of_its_cell():
    frame = Frame(0, 0.0, np.full((4000, 20, 3), 200, np.uint8))
    sheet = contact_sheet([frame], width=100)
    assert sheet.shape == (200 + 34 + 12, 100 + 24, 3)
    ys, xs = np.nonzero((sheet[34:] == 200).all(axis=2))
    assert (xs.min(), xs.max(), len(ys)) == (12 + 49, 12 + 49, 200)


@pytest.mark.parametrize(
    ("size", "box", "enlarge", "wanted"),
    [
        ((90, 140), (140, 70), True, (45, 70)),
        ((10, 10), (40, 20), True, (20, 20)),
        ((10, 10), (40, 20), False, (10, 10)),
        ((1, 60000), (640, 640), False, (1, 640)),
        ((60000, 1), (640, 640), True, (640, 1)),
    ],
)
def test_fitted(size, box, enlarge, wanted):
    assert render.fitted(size, *box, enlarge=enlarge) == wanted


def test_an_overlay_of_longer_sides_than_h264_takes_is_shrunk(tmp_path):
    size = (6, 33000)
    masks = np.zeros((1, *size), np.bool_)
    masks[:, :, :16500] = True
    with OverlayWriter(
        tmp_path / "o.mp4", VideoInfo("clip", *size, fps=30.0), Renderer(["a"], labels=False)
    ) as writer:
        for index in range(2):
            frame = Frame(index, index / 30, np.full((*size, 3), 90, np.uint8))
            writer.write(TrackedFrame(frame, detections(masks)))
    (shown, _) = (frame.image for frame in VideoReader(tmp_path / "o.mp4"))
    assert shown.shape == (4, 16384, 3)  # 3 rows, padded to an even number
    assert np.abs(shown[1, 100].astype(int) - shown[1, 16000]).max() > 30


def test_labels_are_bounded():
    name = "a name that never ends " * 10_000
    text = Renderer([name])._text(detections(boxes=[[0, 0, 9, 9]]), 0, 3)
    assert len(text) < 70
    assert text.endswith("… 3")
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(80):  # beyond the places that are tried, labels lie on one another
        taken.append(render_labels.find_spot((0, 0, 8, 60_000), (14, 60), (60_000, 8), taken))
    assert len(set(taken)) > 60
    assert render_labels.text_coverage("caf\udce9 \0", 17).any()  # names may hold what is no text


@pytest.mark.parametrize(("frames", "pictures"), [(1, 1), (4, 4), (6, 6), (100, 6), (1000, 6)])
def test_the_sheet_spreads_over_a_video_of_any_length(tmp_path, monkeypatch, frames, pictures):
    kept = []
    monkeypatch.setattr(
        render, "contact_sheet", lambda f, **k: kept.extend(f) or np.zeros((4, 4, 3), np.uint8)
    )
    sheet = ContactSheet(tmp_path / "sheet.png", Renderer(["a"]), width=16)
    assert isinstance(sheet, FrameSink)
    for index in range(frames):
        sheet.write(
            TrackedFrame(Frame(index, index / 30, np.zeros((8, 16, 3), np.uint8)), detections(boxes=[]))
        )
        assert len(sheet._kept) <= 12
    sheet.close()
    indices = [frame.index for frame in kept]
    assert len(indices) == pictures == len(set(indices))
    assert indices[0] == 0
    assert indices[-1] >= 0.85 * (frames - 1)
    gaps = np.diff(indices)
    assert len(gaps) == 0 or gaps.max() <= 2.1 * gaps.min()
    assert (tmp_path / "sheet.png").is_file()


def test_a_sheet_shows_the_objects(tmp_path):
    sheet = ContactSheet(tmp_path / "sheet.png", Renderer(["a"], opacity=1), width=70)
    black = np.zeros((90, 140, 3), np.uint8)
    sheet.write(TrackedFrame(Frame(0, 0.0, black), detections(two_blobs()[:1])))
    sheet.close()
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"))
    # The middle of the blob: row 40, column 55 of the frame, at half size, in its cell.
    assert tuple(drawn[34 + 20, 12 + 27]) == color_of(1)


@pytest.mark.parametrize("rate", [30000 / 1001, None])
def test_the_overlay_video_keeps_times(tmp_path, rate):
    info = VideoInfo("clip", 91, 141, fps=rate)
    times = [0.0, 0.1, 0.4, 0.5]
    with OverlayWriter(tmp_path / "o.mp4", info, Renderer(["a"])) as writer:
        assert isinstance(writer, FrameSink)
        for index, pts in enumerate(times):
            found = detections(np.ones((1, 91, 141), np.bool_))
            writer.write(TrackedFrame(Frame(index, pts, np.zeros((91, 141, 3), np.uint8)), found))
    frames = list(VideoReader(tmp_path / "o.mp4"))
    wanted = times if rate else [0.0, 0.1, 0.2, 0.3]
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], wanted, atol=1e-5)
    assert frames[0].size == (92, 142)
    blended = np.array(color_of(1)) * 0.45
    np.testing.assert_allclose(frames[0].image[50, 70], blended, atol=6)


def test_an_overlay_that_fails_leaves_no_video(tmp_path):
    with (
        pytest.raises(ValueError, match="expected uint8"),
        OverlayWriter(tmp_path / "o.mp4", VideoInfo("clip", 90, 140, fps=30.0), Renderer(["a"])) as writer,
    ):
        writer.write(TrackedFrame(Frame(0, 0.0, np.zeros((10, 10, 3), np.uint8)), detections(boxes=[])))
    assert list(tmp_path.iterdir()) == []


def test_opacity_has_a_range():
    with pytest.raises(UsageError, match=r"opacity: expected 0 to 1, got 1\.5"):
        Renderer(["a"], opacity=1.5)

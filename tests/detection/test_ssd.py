"""SSD: anchors, decoding and views in closed form, a network of chosen answers, and the real file."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import detectors
from detectors import ssd
from vis import boxes as box_maths
from vis import weights
from vis.errors import CheckpointError, DependencyError, UsageError

DOG, CAR, PERSON, BOOT = (ssd.CLASS_NAMES.index(name) for name in ("Dog", "Car", "Person", "Boot"))


def test_anchors_are_six_layers_of_ever_coarser_cells():
    anchors = ssd.anchors()
    ends = np.cumsum([19 * 19 * 3, 10 * 10 * 6, 5 * 5 * 6, 3 * 3 * 6, 2 * 2 * 6, 6])
    assert len(anchors) == ends[-1] == 1917
    assert anchors.dtype == np.float32
    # The first cell: centres at half a cell, a small square, and the two oblongs of scale .2.
    np.testing.assert_allclose(anchors[:3, :2], 0.5 / 19, rtol=1e-6)
    root = np.sqrt(2)
    np.testing.assert_allclose(
        anchors[:3, 2:], [[0.1, 0.1], [0.2 / root, 0.2 * root], [0.2 * root, 0.2 / root]], rtol=1e-6
    )
    # Rows of cells run along x first; the second cell of the second layer lies right of its first.
    second = anchors[ends[0] + 6]
    np.testing.assert_allclose(second[:2], [0.05, 0.15], rtol=1e-6)
    # The last cell is the whole picture: scale .95 in five ratios, and the square between it and 1.
    last = anchors[ends[-2] :]
    np.testing.assert_allclose(last[:, :2], 0.5)
    np.testing.assert_allclose(last[:, 2] * last[:, 3], [0.95**2] * 5 + [0.95], rtol=1e-6)
    np.testing.assert_allclose(last[:, 3] / last[:, 2], [1, 2, 1 / 2, 3, 1 / 3, 1], rtol=1e-6)
    scales = np.sqrt(anchors[[ends[0], ends[1], ends[2], ends[3], ends[4]], 2] ** 2)
    np.testing.assert_allclose(scales, [0.35, 0.5, 0.65, 0.8, 0.95], rtol=1e-6)


def test_boxes_decode_as_they_were_encoded():
    random = np.random.default_rng(3)
    anchors = ssd.anchors()[::50]
    boxes = np.sort(random.random((len(anchors), 2, 2)), axis=1).reshape(-1, 4)
    boxes[:, 2:] += 0.01  # none is empty
    centre = (boxes[:, 1::-1] + boxes[:, 3:1:-1]) / 2  # y, x
    sizes = boxes[:, 3:1:-1] - boxes[:, 1::-1]
    encoded = np.concatenate(
        [10 * (centre - anchors[:, :2]) / anchors[:, 2:], 5 * np.log(sizes / anchors[:, 2:])], axis=1
    )
    np.testing.assert_allclose(ssd.decode_boxes(encoded.astype(np.float32), anchors), boxes, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 500), [(0, 0, 500, 480)]),
        ((720, 1280), [(0, 0, 1280, 720), (0, 0, 720, 720), (560, 0, 1280, 720)]),
        ((640, 360), [(0, 0, 360, 640), (0, 0, 360, 360), (0, 280, 360, 640)]),
    ],
)
def test_long_frames_are_looked_at_in_squares_too(size, expected):
    assert ssd.views(size) == expected
    assert ssd.views(size, squares=False) == expected[:1]


class Answers:
    """A network that finds chosen boxes, in shares of each view it is shown: (box, {label: probability})."""

    def __init__(self, *found):
        self.found = found
        self.shapes = []

    def __call__(self, picture):
        self.shapes.append(picture.shape)
        encodings = np.zeros((1917, 4), np.float32)
        probabilities = np.zeros((1917, 24), np.float32)
        for row, (box, classes) in enumerate(self.found):
            anchor = ssd.anchors()[row]
            x0, y0, x1, y1 = box
            encodings[row, :2] = 10 * (np.array([(y0 + y1) / 2, (x0 + x1) / 2]) - anchor[:2]) / anchor[2:]
            encodings[row, 2:] = 5 * np.log(np.array([y1 - y0, x1 - x0]) / anchor[2:])
            for label, probability in classes.items():
                probabilities[row, 1 + label] = probability
        return encodings, probabilities


@pytest.fixture
def detector_of(tmp_path, monkeypatch):
    file = tmp_path / "some.tflite"
    file.write_bytes(b"not looked at")

    def make(*found, **settings):
        network = Answers(*found)
        monkeypatch.setattr(ssd, "_open", lambda path, threads: network)
        return ssd.Ssd(weights=file, **settings), network

    return make


def image(height=100, width=100):
    return np.zeros((height, width, 3), np.uint8)


def test_a_box_comes_in_pixels_with_its_best_class(detector_of):
    detector, _ = detector_of(
        ((0.1, 0.2, 0.5, 0.8), {DOG: 0.7, PERSON: 0.4}), ((0.6, 0.6, 0.9, 0.9), {DOG: 0.2})
    )
    (found,) = detector.detect([image()])
    np.testing.assert_allclose(found.boxes, [[10, 20, 50, 80]], atol=1e-3)
    assert found.labels.tolist() == [DOG]
    np.testing.assert_allclose(found.scores, [0.7])


def test_two_classes_for_one_thing_are_one_box(detector_of):
    vehicle = ssd.CLASS_NAMES.index("Vehicle")
    detector, _ = detector_of(((0.1, 0.1, 0.5, 0.5), {CAR: 0.6}), ((0.11, 0.1, 0.5, 0.5), {vehicle: 0.5}))
    assert detector.detect([image()])[0].labels.tolist() == [CAR]


def test_a_part_of_a_thing_is_not_a_second_one_but_a_dog_before_a_car_is(detector_of):
    whole, part = (0.1, 0.1, 0.9, 0.9), (0.2, 0.2, 0.4, 0.6)
    detector, _ = detector_of((whole, {CAR: 0.8}), (part, {CAR: 0.5}))
    assert len(detector.detect([image()])[0]) == 1
    detector, _ = detector_of((whole, {CAR: 0.8}), (part, {DOG: 0.5}))
    assert len(detector.detect([image()])[0]) == 2


def test_a_weak_box_that_overlaps_a_better_one_is_another_guess_at_it(detector_of):
    better, beside, elsewhere = (0.1, 0.1, 0.5, 0.5), (0.1, 0.28, 0.5, 0.68), (0.1, 0.45, 0.5, 0.85)
    for box, score, count in ((beside, 0.2, 1), (beside, 0.32, 2), (elsewhere, 0.2, 2)):
        detector, _ = detector_of((better, {PERSON: 0.5}), (box, {DOG: score}), score=0.15)
        assert len(detector.detect([image()])[0]) == count


def test_parts_of_people_are_found_when_asked_for(detector_of):
    found = ((0.1, 0.1, 0.5, 0.9), {PERSON: 0.6}), ((0.6, 0.1, 0.9, 0.3), {BOOT: 0.9})
    assert detector_of(*found)[0].detect([image()])[0].labels.tolist() == [PERSON]
    asked = detector_of(*found, classes=["Boot"])[0].detect([image()])[0]
    assert asked.labels.tolist() == [BOOT]
    assert detector_of(*found, classes=["Dog"])[0].detect([image()])[0].labels.tolist() == []


def test_what_a_square_cuts_off_is_left_to_the_whole(detector_of):
    # Every view finds a box at its right end: at the frame's own end it is whole.
    detector, network = detector_of(((0.7, 0.2, 1.0, 0.8), {CAR: 0.8}))
    (found,) = detector.detect([image(100, 200)])
    assert network.shapes == [(100, 200, 3), (100, 100, 3), (100, 100, 3)]
    # The left square's box ends where the square does, and the right square's is a part of the whole's.
    assert found.boxes.round().tolist() == [[140, 20, 200, 80]]


def test_without_litert_the_message_holds_the_command(tmp_path, monkeypatch):
    (tmp_path / "some.tflite").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(DependencyError, match="pip install ai-edge-litert"):
        ssd.Ssd(weights=tmp_path / "some.tflite")


def test_another_file_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "some.tflite").write_bytes(b"no model at all")
    with pytest.raises(CheckpointError, match="not a TFLite model"):
        ssd.Ssd(weights=tmp_path / "some.tflite")


def test_settings_are_checked():
    with pytest.raises(UsageError, match="no class 'dog'; known: Bicycle"):
        detectors.create("ssd", classes=["dog"])
    with pytest.raises(UsageError, match=r"score 2"):
        detectors.create("ssd", score=2)


@pytest.mark.shared_data
@pytest.mark.parametrize(("clip", "name"), [("dog", "Dog"), ("car-roundabout", "Car"), ("parkour", "Person")])
def test_the_real_network_names_the_main_thing(shared_data, capfd, real_ssd, clip, name):
    import cv2

    folder = shared_data / "davis16"
    picture = cv2.imread(str(folder / "JPEGImages" / "480p" / clip / "00000.jpg"))[:, :, ::-1]
    mask = cv2.imread(str(folder / "Annotations" / "480p" / clip / "00000.png"), cv2.IMREAD_GRAYSCALE)
    x, y, width, height = cv2.boundingRect(mask)
    (found,) = real_ssd.detect([picture])
    overlap = box_maths.iou(np.array([[x, y, x + width, y + height]]), found.boxes)[0]
    assert overlap.max() > 0.7
    assert ssd.CLASS_NAMES[found.labels[overlap.argmax()]] == name
    assert capfd.readouterr().err == "", "the runtime's own chatter stays out of the terminal"


def test_threads_may_share_the_network(real_ssd):
    noise = np.random.default_rng(0).integers(0, 256, (8, 90, 120, 3), np.uint8)
    alone = [real_ssd.detect([image])[0] for image in noise]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: real_ssd.detect([image])[0], noise))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.fixture
def real_ssd():
    pytest.importorskip("ai_edge_litert")
    if not weights.cached(weights.WEIGHTS["ssd-openimages"]):
        pytest.skip("ssd-openimages is not in the cache")
    return ssd.Ssd(threads=1)

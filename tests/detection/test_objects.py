"""Named boxes and saliency as one detector: one thing is one box, and without names it still works."""

from __future__ import annotations

import numpy as np
import pytest

import detectors
from detectors import objects, ssd
from detectors.objects import Objects, merge
from vis.errors import FallbackWarning, UsageError, WeightsError
from vis.structures import Detections

DOG, PERSON = (ssd.CLASS_NAMES.index(name) for name in ("Dog", "Person"))
UNNAMED = Objects.class_names.index("object")


def rows(*found):
    boxes, scores, labels = zip(*found, strict=True) if found else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def test_what_both_see_is_one_named_box():
    named = rows(([10, 10, 50, 50], 0.4, DOG), ([200, 0, 240, 90], 0.5, PERSON))
    found = merge(named, rows(([14, 10, 50, 54], 0.9, 0)))
    assert found.labels.tolist() == [DOG, PERSON]
    np.testing.assert_allclose(found.boxes, [[12, 10, 50, 52], [200, 0, 240, 90]])
    np.testing.assert_allclose(found.scores, [0.9, 0.5])
    assert named.boxes[0].tolist() == [10, 10, 50, 50], "what was given is left alone"


@pytest.mark.parametrize(
    "named",
    [
        rows(),
        rows(([200, 0, 240, 90], 0.5, PERSON)),
        # A box that only touches the thing, one that is a small part of it, and one that it is a small part of.
        rows(([0, 0, 30, 100], 0.5, PERSON)),
        rows(([12, 12, 30, 30], 0.5, PERSON)),
        rows(([0, 0, 300, 300], 0.5, PERSON)),
    ],
    ids=["none", "elsewhere", "touching", "part", "whole"],
)
def test_what_nobody_named_is_an_object(named):
    found = merge(named, rows(([10, 10, 90, 90], 0.8, 0)))
    assert found.labels.tolist() == [*named.labels.tolist(), UNNAMED]
    np.testing.assert_allclose(found.boxes, [*named.boxes, [10, 10, 90, 90]])
    np.testing.assert_allclose(found.scores, [*named.scores, 0.4], rtol=1e-6, err_msg="as high as names'")


def test_where_nothing_stands_out_the_named_boxes_stay():
    named = rows(([10, 10, 50, 50], 0.4, DOG))
    assert merge(named, Detections.empty()) is named


class Names:
    """Stands in for ``ssd``: the same boxes on every picture."""

    weights_sha256 = {"names.tflite": "0" * 64}  # noqa: RUF012 - a class made to be read
    found = Detections.empty()

    def __init__(self, **settings):
        self.settings = settings

    def detect(self, images):
        return [self.found for _ in images]


@pytest.fixture
def picture():
    """A red square on black: what the red saliency finds."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[30:90, 40:100, 0] = 255
    return image


def test_a_thing_gets_its_name_or_is_an_object(monkeypatch, red_saliency, picture):
    monkeypatch.setattr(objects, "Ssd", Names)
    detector = Objects(saliency=red_saliency)
    assert detector.describe() == "ssd + salient"
    assert set(detector.weights_sha256) == {"names.tflite", "red.onnx"}
    assert detector.detect([picture])[0].labels.tolist() == [UNNAMED]
    monkeypatch.setattr(Names, "found", rows(([38, 28, 101, 92], 0.4, DOG)))
    assert detector.detect([picture])[0].labels.tolist() == [DOG]


def test_classes_are_kept_and_still_explain_what_they_are_not(monkeypatch, red_saliency, picture):
    monkeypatch.setattr(objects, "Ssd", Names)
    monkeypatch.setattr(Names, "found", rows(([38, 28, 101, 92], 0.4, PERSON), ([0, 0, 30, 30], 0.4, DOG)))
    for classes, expected in ((["Dog"], [DOG]), (["object"], []), (["object", "Person"], [PERSON])):
        detector = Objects(saliency=red_saliency, classes=classes)
        assert detector.detect([picture])[0].labels.tolist() == expected
    with pytest.raises(UsageError, match="no class 'dog'"):
        Objects(saliency=red_saliency, classes=["dog"])


def test_saliency_is_asked_every_other_frame_of_a_still_picture(monkeypatch, red_saliency, picture):
    monkeypatch.setattr(objects, "Ssd", Names)
    detector = Objects(saliency=red_saliency)
    moved = np.roll(picture, 1, axis=1)
    first, second, third = (found.boxes for found in detector.detect([picture, moved, moved]))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(third - first, [[1, 0, 1, 0]], atol=0.5)
    detector.reset()
    np.testing.assert_array_equal(detector.detect([moved])[0].boxes, third)
    every = Objects(saliency=red_saliency, still=0)
    np.testing.assert_array_equal(every.detect([picture, moved])[1].boxes, third)


def test_saliency_is_asked_whenever_the_picture_changes(monkeypatch, red_saliency, picture):
    monkeypatch.setattr(objects, "Ssd", Names)
    far = np.roll(picture, 40, axis=1)
    first, second = (found.boxes for found in Objects(saliency=red_saliency).detect([picture, far]))
    np.testing.assert_allclose(second - first, [[40, 0, 40, 0]], atol=1)


def test_it_goes_on_from_a_saved_state(monkeypatch, red_saliency, picture):
    monkeypatch.setattr(objects, "Ssd", Names)
    whole, first, second = (Objects(saliency=red_saliency) for _ in range(3))
    film = [np.roll(picture, step, axis=1) for step in range(6)]
    expected = whole.detect(film)
    for at in (3, 4):  # after a frame that was looked at, and after one that was not
        first.reset()
        first.detect(film[:at])
        second.load_state_dict(first.state_dict())
        for after, wanted in zip(second.detect(film[at:]), expected[at:], strict=True):
            np.testing.assert_array_equal(after.boxes, wanted.boxes)
            np.testing.assert_array_equal(after.scores, wanted.scores)


@pytest.fixture
def no_names(monkeypatch, tmp_path):
    """A machine without the file, npm or network."""
    monkeypatch.setenv("VISTUBES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")


def test_without_the_file_saliency_works_alone_and_says_so(no_names, red_saliency, picture):
    with pytest.warns(FallbackWarning, match="`vistubes models fetch ssd-openimages`") as said:
        detector = detectors.create("objects", saliency=red_saliency)
    assert len(said) == 1
    assert detector.describe() == "salient"
    assert set(detector.weights_sha256) == {"red.onnx"}
    assert detector.detect([picture])[0].labels.tolist() == [UNNAMED]


def test_without_the_file_names_that_were_asked_for_are_an_error(no_names, red_saliency):
    with pytest.raises(WeightsError, match="ssd-openimages"):
        Objects(saliency=red_saliency, classes=["Dog"])

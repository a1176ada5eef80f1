"""Salient objects: regions, gaps, and what the frames before do to the next one."""

from __future__ import annotations

import numpy as np
import pytest

import detectors
from vis import weights
from vis.errors import CheckpointError, UsageError, WeightsError


@pytest.fixture
def salient(red_saliency):
    def make(**settings):
        return detectors.create("salient", weights=red_saliency, **settings)

    return make


def boxes_of(found):
    return found.boxes.round().astype(int).tolist()


def test_a_region_becomes_box_mask_and_score(salient, picture):
    image = picture((40, 60, 140, 200))
    found = salient().detect([image])[0]
    assert boxes_of(found) == [[40, 60, 140, 200]]
    np.testing.assert_array_equal(found.masks[0], image[..., 0] > 0)
    np.testing.assert_allclose(found.scores, [1.0], atol=1e-4)
    assert found.labels.tolist() == [0]


def test_boxes_and_masks_are_in_pixels_of_the_frame(salient, picture):
    image = picture((200, 120, 600, 480), size=(540, 960))
    found = salient().detect([image])[0]
    np.testing.assert_allclose(found.boxes, [[200, 120, 600, 480]], atol=2)
    assert found.masks.shape == (1, 540, 960)
    truth = image[..., 0] > 0
    assert (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum() > 0.98


def test_the_main_object_comes_first_and_specks_do_not_come(salient, picture):
    small, large, speck = (10, 10, 60, 60), (150, 150, 300, 300), (250, 20, 255, 25)
    found = salient().detect([picture(small, large, speck)])[0]
    assert boxes_of(found) == [list(large), list(small)]


def test_a_thin_gap_does_not_make_two_objects_and_a_wide_one_does(salient, picture):
    thin, wide = (
        picture((50, 50, 100, 150), (108, 50, 160, 150)),
        picture((50, 50, 100, 150), (140, 50, 190, 150)),
    )
    assert boxes_of(salient().detect([thin])[0]) == [[50, 50, 160, 150]]
    assert len(salient().detect([wide])[0]) == 2
    assert len(salient(merge_gap=0).detect([thin])[0]) == 2
    gap = salient().detect([thin])[0].masks[0][:, 100:108]
    assert not gap.any(), "the gap itself is not the object"


def test_nothing_salient_is_no_object(salient, picture):
    assert len(salient().detect([np.zeros((240, 320, 3), np.uint8)])[0]) == 0


def test_a_fainter_object_has_a_lower_score(salient):
    image = np.zeros((320, 320, 3), np.uint8)
    image[..., 2] = 255  # fixes the picture's maximum, by which the authors divide
    image[100:200, 100:200, 0] = 128
    found = salient().detect([image])[0]
    np.testing.assert_allclose(found.scores, [128 / 255], atol=0.01)


def test_the_last_main_object_wins_against_an_equal_one_elsewhere(salient, picture):
    here, there = (20, 20, 90, 90), (220, 220, 292, 292)
    detector = salient()
    detector.detect([picture(here)])
    assert boxes_of(detector.detect([picture(here, there)])[0])[0] == list(here)
    detector.reset()
    assert boxes_of(detector.detect([picture(here, there)])[0])[0] == list(there), (
        "after reset the larger wins"
    )


def test_what_is_remembered_goes_with_the_motion(salient, picture):
    """The object has moved by 130 pixels of 320 since it was seen; another is where it was."""
    here, there, other = (20, 20, 90, 90), (150, 20, 220, 90), (20, 20, 92, 92)
    detector = salient()
    detector.detect([picture(here)])
    back = np.full((18, 32, 2), (-130 / 320, 0), np.float32)  # in shares of the frame
    detector.compensate_flow(back)
    assert boxes_of(detector.detect([picture(there, other)])[0])[0] == list(there)
    detector.reset()
    detector.compensate_flow(back)  # nothing is remembered
    assert boxes_of(detector.detect([picture(there, other)])[0])[0] == list(other)


def test_sudden_growth_is_held_back_until_it_stays(salient, picture):
    object_, blob = (100, 100, 160, 160), (80, 60, 200, 200)
    detector = salient()
    for _ in range(3):
        detector.detect([picture(object_)])
    first = detector.detect([picture(blob)])[0].boxes[0]
    assert np.abs(first - object_).max() <= 8, "one frame of a blob moves the box by a few pixels only"
    for _ in range(12):
        last = detector.detect([picture(blob)])[0].boxes[0]
    assert last.tolist() == list(blob), "a blob that stays is the object"


def test_another_scene_is_believed_at_once(salient, picture):
    detector = salient()
    for _ in range(3):
        detector.detect([picture((10, 10, 60, 60))])
    assert boxes_of(detector.detect([picture((150, 150, 300, 300))])[0]) == [[150, 150, 300, 300]]


def test_without_temporal_every_frame_is_on_its_own(salient, picture):
    images = [picture((100, 100, 160, 160)), picture((60, 20, 300, 300)), picture((0, 0, 50, 50))]
    together = salient(temporal=False).detect(images)
    for image, found in zip(images, together, strict=True):
        alone = salient(temporal=False).detect([image])[0]
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        np.testing.assert_array_equal(found.masks, alone.masks)


def test_wrong_settings_and_files_are_refused(salient, constant_yolox, tmp_path):
    with pytest.raises(UsageError, match="0 < threshold < 1"):
        salient(threshold=1.5)
    with pytest.raises(CheckpointError, match="like U2Net's"):
        detectors.create("salient", weights=constant_yolox(np.zeros((126, 85))))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(CheckpointError, match=r"text\.onnx is not an ONNX model"):
        detectors.create("salient", weights=tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match=r"no file .*absent\.onnx"):
        detectors.create("salient", weights=str(tmp_path / "absent.onnx"))


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_real_network_finds_the_dog(shared_data):
    import cv2

    if not weights.cached(weights.WEIGHTS["u2netp"]):
        pytest.skip("u2netp is not in the cache; `vistubes models fetch u2netp`")
    clip = shared_data / "davis16"
    frames = sorted((clip / "JPEGImages/480p/dog").glob("*.jpg"))[:8:2]
    truths = [cv2.imread(str(clip / f"Annotations/480p/dog/{path.stem}.png"), 0) > 127 for path in frames]
    images = [cv2.imread(str(path))[:, :, ::-1] for path in frames]
    for found, truth in zip(detectors.create("salient").detect(images), truths, strict=True):
        mask = found.masks[0]
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8

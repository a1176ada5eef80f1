"""VidEoMT: the library's objects frame by frame, ids that are queries, and any chunking alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import detectors
from vis.errors import UsageError


@pytest.fixture
def detector(videomt_folder):
    made = detectors.create("videomt", weights=videomt_folder, score=0.3, device="cpu")
    made._model.double()
    return made


@pytest.fixture(scope="module")
def library(videomt_folder):
    pytest.importorskip("transformers")
    from transformers import VideomtForUniversalSegmentation, VideomtVideoProcessor

    model = VideomtForUniversalSegmentation.from_pretrained(videomt_folder).double().eval()
    return model, VideomtVideoProcessor.from_pretrained(videomt_folder)


def library_outputs(library, images):
    model, processor = library
    video = processor(videos=[np.stack(images)], return_tensors="pt")["pixel_values_videos"]
    with torch.inference_mode():
        return model(pixel_values_videos=video.double())


def test_objects_equal_the_librarys_own_frame_by_frame(library, detector, film):
    images = film(5)
    outputs = library_outputs(library, images)
    sizes = [image.shape[:2] for image in images]
    expected = library[1].post_process_instance_segmentation(outputs, sizes, threshold=0.3)
    found = detector.detect(images)
    assert sum(len(frame["segments_info"]) for frame in expected) >= 5, "nothing would be compared"
    for ours, theirs in zip(found, expected, strict=True):
        infos = theirs["segments_info"]
        assert len(ours) == len(infos)
        np.testing.assert_allclose(
            np.sort(ours.scores), np.sort([info["score"] for info in infos]), atol=2e-6
        )
        # The library paints objects over one another in the order of queries; painted so, ours agree.
        painted = np.full(theirs["segmentation"].shape, -1)
        for number, row in enumerate(np.argsort(ours.track_ids)):
            painted[ours.masks[row]] = number
            assert ours.labels[row] == infos[number]["label_id"]
        np.testing.assert_array_equal(painted, theirs["segmentation"].numpy())


def test_ids_are_the_queries(library, detector, film):
    images = film(4)
    outputs = library_outputs(library, images)
    for frame, ours in enumerate(detector.detect(images)):
        classes = outputs.class_queries_logits[frame].softmax(-1)[:, :-1].argmax(-1).numpy()
        np.testing.assert_array_equal(classes[ours.track_ids - 1], ours.labels)
        assert len(set(ours.track_ids.tolist())) == len(ours)


@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [2, 2, 3]], ids=str)
def test_any_chunking_gives_what_the_whole_clip_gives(detector, film, chunks):
    images = film(7)
    whole = detector.detect(images)
    detector.reset()
    pieces, start = [], 0
    for length in chunks:
        pieces += detector.detect(images[start : start + length])
        start += length
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.track_ids, other.track_ids)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_frames_before_matter_and_reset_forgets_them(detector, film):
    images = film(4)
    detector.detect(images[:3])
    kept = detector._queries
    assert kept.shape == (1, 10, 32), "the state does not grow"
    continued = detector.detect(images[3:])[0]
    detector.reset()
    fresh = detector.detect(images[3:])[0]
    assert len(continued) != len(fresh) or not np.allclose(continued.embeddings, fresh.embeddings)


def test_settings_are_checked(videomt_folder):
    with pytest.raises(UsageError, match="0 <= score <= 1"):
        detectors.create("videomt", weights=videomt_folder, score=-1)

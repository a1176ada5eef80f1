"""Objects from JSON: what a file says comes out, frame by frame; what it must not say is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import detectors
from vis import masks as rle
from vis.errors import AnnotationError, InputError, UsageError
from vis.formats import tubes as tubes_format
from vis.structures import Tube, VideoInfo, VideoResult

BLANK = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def opened(tmp_path):
    def make(value, **settings):
        path = tmp_path / "objects.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return detectors.create("precomputed", weights=path, **settings)

    return make


def mask_of(x0, y0, x1, y1, size=(40, 60)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def segmentation(*box, size=(40, 60)):
    coco = rle.to_coco(rle.encode(mask_of(*box, size=size)))
    counts = coco["counts"]
    return {"size": list(coco["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def test_boxes_per_frame(opened):
    detector = opened(
        {
            "class_names": ["cat", "dog"],
            "frames": [
                [{"box": [1, 2, 11, 12], "score": 0.5, "label": 1, "id": 7}, {"box": [0, 0, 5, 5], "id": 2}],
                [],
                [{"box": [3, 3, 9, 9]}],
            ],
        }
    )
    assert detector.class_names == ("cat", "dog")
    first, second, third, after = detector.detect([BLANK] * 4)
    assert first.boxes.tolist() == [[1, 2, 11, 12], [0, 0, 5, 5]]
    assert (first.labels.tolist(), first.track_ids.tolist()) == ([1, 0], [7, 2])
    np.testing.assert_allclose(first.scores, [0.5, 1])
    assert first.masks is None
    assert len(second) == len(after) == 0
    assert third.track_ids is None
    detector.reset()
    np.testing.assert_array_equal(detector.detect([BLANK])[0].boxes, first.boxes)


def test_frames_may_start_late_and_skip(opened):
    frames = [[{"box": [i, 0, i + 1, 1]}] for i in range(10)]
    detector = opened({"frames": frames}, start=3, stride=2)
    assert [found.boxes[0, 0] for found in detector.detect([BLANK] * 3)] == [3, 5, 7]
    with pytest.raises(UsageError, match="stride 0"):
        opened({"frames": frames}, stride=0)


def test_ytvis_results_become_tubes_with_masks_and_ids(opened):
    results = [
        {"video_id": 4, "category_id": 2, "score": 0.75, "segmentations": [segmentation(5, 6, 20, 30), None]},
        {"video_id": 4, "category_id": 1, "score": 0.5, "segmentations": [segmentation(0, 0, 9, 9)] * 2},
    ]
    detector = opened(results)
    assert detector.class_names == ("category 1", "category 2")
    first, second = detector.detect([BLANK] * 2)
    assert first.boxes.tolist() == [[5, 6, 20, 30], [0, 0, 9, 9]]
    np.testing.assert_array_equal(first.masks[0], mask_of(5, 6, 20, 30))
    assert (first.labels.tolist(), first.track_ids.tolist()) == ([1, 0], [1, 2])
    assert second.track_ids.tolist() == [2], "null is no object, and ids stay"
    assert opened(results, class_names=["a", "b"]).class_names == ("a", "b")


def test_ytvis_annotations_take_their_own_names_and_one_video(opened):
    truth = {
        "videos": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 9, "name": "zebra"}, {"id": 3, "name": "ant"}],
        "annotations": [
            {"video_id": 1, "category_id": 9, "segmentations": [segmentation(0, 0, 4, 4)]},
            {"video_id": 2, "category_id": 3, "segmentations": [segmentation(1, 1, 5, 5)]},
        ],
    }
    with pytest.raises(AnnotationError, match=r"holds 2 videos \(1, 2\); choose one: video_id="):
        opened(truth)
    detector = opened(truth, video_id=1)
    found = detector.detect([BLANK])[0]
    assert [detector.class_names[label] for label in found.labels] == ["zebra"]
    assert found.scores.tolist() == [1.0]


def test_our_own_result_reads_back(opened):
    tube = Tube(
        5,
        0,
        0.9,
        np.array([0, 2]),
        np.array([[0, 0, 4, 4], [1, 1, 5, 5]], np.float32),
        np.array([0.9, 0.8], np.float32),
        (rle.encode(mask_of(0, 0, 4, 4)), rle.encode(mask_of(1, 1, 5, 5))),
    )
    result = VideoResult(VideoInfo("clip", 40, 60), ("cat",), (tube,), np.arange(3), np.arange(3) / 10)
    found = opened(tubes_format.to_json(result)).detect([BLANK] * 3)
    assert [len(frame) for frame in found] == [1, 0, 1]
    assert found[2].track_ids.tolist() == [5]
    np.testing.assert_array_equal(found[2].masks[0], mask_of(1, 1, 5, 5))


def test_masks_of_another_size_than_the_frame_are_refused(opened):
    detector = opened(
        [{"video_id": 1, "category_id": 1, "score": 1, "segmentations": [segmentation(0, 0, 3, 3)]}]
    )
    with pytest.raises(AnnotationError, match=r"frame 0 is 20x30, its masks are 40x60"):
        detector.detect([np.zeros((20, 30, 3), np.uint8)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"frames": [', "not valid JSON at line 1"),
        ({"some": "thing"}, "neither boxes per frame, nor YTVIS"),
        ({"frames": {}}, "frames must be a list"),
        ({"frames": [5]}, "frame 0 must be a list of objects"),
        ({"frames": [[], [{"box": [5, 0, 5, 1]}]]}, r"frame 1, object 0: box must be \[x0, y0, x1, y1\]"),
        ({"frames": [[{"box": [0, 0, 1]}]]}, "box must be"),
        ({"frames": [[{"box": [0, 0, True, 2]}]]}, "box must be"),
        ({"frames": [[{"box": [0, 0, 1, 2], "score": 1.5}]]}, r"score must be a number in \[0, 1\]"),
        ({"frames": [[{"box": [0, 0, 1, 2], "label": 3}]]}, r"label must be 0\.\.0"),
        ({"frames": [[{"box": [0, 0, 1, 2], "id": 0}]]}, "id must be a positive integer"),
        ({"frames": [[{"box": [0, 0, 1, 2], "id": 4}] * 2]}, "an id of its own"),
        ({"frames": [[{"box": [0, 0, 1, 2], "id": 4}, {"box": [0, 0, 1, 2]}]]}, "or no ids"),
        ({"frames": [], "class_names": "cat"}, "class_names must be a list"),
        ([5], "a list of objects, one per tube"),
        ([{"video_id": 1, "category_id": 0, "score": 1, "segmentations": []}], "category_id of 1 or more"),
        ([{"video_id": 1, "category_id": 1, "score": None, "segmentations": []}], "score must be"),
        ([{"video_id": 1, "category_id": 1, "score": 1}], "segmentations must be a list"),
        (
            [
                {
                    "video_id": 1,
                    "category_id": 1,
                    "score": 1,
                    "segmentations": [{"size": [4, 4], "counts": "zzz"}],
                }
            ],
            "tube 0, frame 0",
        ),
        ({"annotations": [{"video_id": 1}], "categories": [{"id": "x"}]}, "broken categories"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(opened, value, message):
    with pytest.raises(InputError, match=message):
        opened(value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        detectors.create("precomputed", weights=tmp_path / "none.json")

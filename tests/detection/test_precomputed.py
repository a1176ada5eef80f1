"""Objects from JSON: what a file says comes out, frame by frame; what it must not say is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import detectors
from apps.progress import Stopwatch, TimedDetector
from trackers.native import NativeTracker
from vis import masks as rle
from vis import pipeline
from vis.errors import AnnotationError, AnnotationWarning, InputError, UsageError
from vis.formats import tubes as tubes_format
from vis.interfaces import FrameIndexedDetector
from vis.structures import Frame, Tube, VideoInfo, VideoResult

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


def test_it_is_asked_by_frame_number(opened):
    detector = opened({"frames": [[{"box": [i, 0, i + 1, 1], "id": 1}] for i in range(20)]})
    assert isinstance(detector, FrameIndexedDetector)
    assert not isinstance(detectors.create("motion"), FrameIndexedDetector)
    wanted = [3, 4, 7, 19, 2]
    frames = [Frame(index, index / 10, BLANK) for index in wanted]
    assert [found.boxes[0, 0] for found in detector.detect_frames(frames)] == wanted
    # Whatever the batch and whoever wraps it, and with a frame that the file does not speak of.
    for batch, asked in ((1, detector), (3, detector), (2, TimedDetector(detector, Stopwatch()))):
        frames = [Frame(index, index / 10, BLANK) for index in (5, 6, 11, 15, 19, 30)]
        found = [
            (item.frame.index, item.detections.boxes[:, 0].tolist())
            for item in pipeline.track(frames, asked, NativeTracker(), batch=batch)
        ]
        assert found == [(5, [5]), (6, [6]), (11, [11]), (15, [15]), (19, [19]), (30, [])]


def test_a_wrapper_hands_pictures_to_a_detector_that_wants_pictures():
    timed = TimedDetector(detectors.create("none"), Stopwatch())
    assert [len(found) for found in pipeline.detect(timed, [Frame(4, 0.4, BLANK)])] == [0]


def test_a_video_longer_than_a_ytvis_file_is_another_video(opened):
    tube = {"video_id": 1, "category_id": 1, "score": 1, "segmentations": [segmentation(0, 0, 9, 9)] * 2}
    detector = opened([tube])
    assert len(detector.detect_frames([Frame(1, 0.1, BLANK)])[0]) == 1
    with pytest.raises(AnnotationError, match=r"asked about frame 2.*2 entries, frames 0 to 1; .*--end"):
        detector.detect_frames([Frame(2, 0.2, BLANK)])
    with pytest.raises(AnnotationError, match="tube 1: has 1 segmentations, the tube before it 2"):
        opened([tube, {**tube, "segmentations": [None]}])


@pytest.mark.parametrize(("chosen", "box"), [(7, [7, 0, 9, 2]), ("7", [7, 0, 9, 2]), ("sav_1", [1, 0, 3, 2])])
def test_one_of_several_videos_is_chosen_by_its_id(opened, chosen, box):
    results = [
        {"video_id": number, "category_id": 1, "score": 1, "segmentations": [segmentation(x, 0, x + 2, 2)]}
        for number, x in ((7.0, 7), ("sav_1", 1), (12, 12))
    ]
    assert opened(results, video_id=chosen).detect([BLANK])[0].boxes.tolist() == [box]
    with pytest.raises(AnnotationError, match=r"holds 3 videos \(7, 12, sav_1\); choose one: .*--video-id"):
        opened(results)
    with pytest.raises(AnnotationError, match=r"no video '8' \(--video-id\), it holds: 7, 12, sav_1"):
        opened(results, video_id=8)


def test_settings_that_a_file_has_no_use_for_are_refused(opened):
    with pytest.raises(
        UsageError, match=r"holds one video, which has no id; leave video_id \(--video-id\) out"
    ):
        opened({"frames": []}, video_id=1)
    with pytest.raises(UsageError, match="leave class_names out"):
        opened({"frames": []}, class_names=["cat"])


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


def test_a_listed_video_may_have_no_tubes_and_crowds_are_left_out(opened):
    entry = {"video_id": 2, "category_id": 1, "segmentations": [[[0, 0, 9, 0, 9, 9, 0, 9]]]}
    truth = {
        "videos": [{"id": 1}, {"id": 2, "height": 40.0, "width": 60}],
        "categories": [{"id": 1, "name": "ant"}],
        "annotations": [entry, {**entry, "iscrowd": 1}],
    }
    with pytest.warns(AnnotationWarning, match="1 crowd annotations are left out"):
        assert len(opened(truth, video_id=1).detect([BLANK])[0]) == 0
    with pytest.warns(AnnotationWarning):
        # Polygons take the size that the list of videos gives.
        assert opened(truth, video_id=2).detect([BLANK])[0].masks.sum() == 81


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
        ({"annotations": [], "categories": [{"id": 1, "name": "a"}] * 2}, "entry 1: id 1 is there twice"),
        (
            {
                "annotations": [{"id": 1, "video_id": 1, "category_id": [1], "segmentations": []}],
                "categories": [{"id": 1, "name": "a"}],
            },
            r"tube 0: expected a whole number as category_id, got \[1\]",
        ),
        ({"frames": [[{"box": [10**400, 0, 1, 1]}]]}, "box must be"),
        ({"frames": [[{"box": [0, 0, 10**60, 1]}]]}, "box must be"),
        ({"frames": [[{"box": [0, 0, 9, 9], "id": 10**30}]]}, "id must be a positive integer"),
        ({"frames": [[{"box": [0, 0, 9, 9], "label": [0]}]]}, "label must be"),
        ([{"video_id": [1], "category_id": 1, "score": 1, "segmentations": []}], "expected text as video_id"),
        ([{"video_id": 1, "category_id": 2 * 10**9, "score": 1, "segmentations": []}], "over the limit"),
        ([{"video_id": 1, "category_id": 1.5, "score": 1, "segmentations": []}], "category_id of 1 or more"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(opened, value, message):
    with pytest.raises(InputError, match=message):
        opened(value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        detectors.create("precomputed", weights=tmp_path / "none.json")

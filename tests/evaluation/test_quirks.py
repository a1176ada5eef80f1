"""Each oddity of the published evaluators: its digits in official mode, the right thing in strict.

Numbers are those of the table in docs/evaluation.md.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from vis.errors import AnnotationError, EvaluationWarning, UsageError
from vis.evaluation import evaluate_tubes
from vis.evaluation.protocol import STATS

BOX, FAR = (20, 20, 80, 80), (100, 20, 160, 80)
AP, AR1, AR10, AR100 = (STATS.index(name) for name in ("AP", "AR1", "AR10", "AR100"))


def ap(scene, kind="mask", stat=AP, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        return evaluate_tubes(scene.truth, scene.results, **options).stats[kind][stat]


def both(scene, **options):
    return [ap(scene, mode=mode, **options) for mode in ("official", "strict")]


def test_01_runs_on_current_numpy(Scene):
    assert ap(Scene().add_truth(BOX).add_result(BOX)) == pytest.approx(1)


def test_02_null_frames_of_results_are_empty_frames(Scene):
    scene = Scene().add_truth([BOX, BOX, None, None]).add_result([BOX, BOX, None, None])
    assert both(scene, kind="boundary") == pytest.approx([1, 1])


class TestRefined:
    """03: raw masks for mask IoU, refined ones for bands."""

    @pytest.fixture
    def scene(self, Scene):
        scene = Scene().add_truth(BOX).add_result(BOX)
        # The refined truth is 10 pixels off: boundary IoU (band 4 wide) is far below a half.
        scene.truth["annotations"][0]["segmentations_refined"] = scene.tube((30, 20, 90, 80))
        return scene

    def test_official_mixes_them(self, scene):
        out = evaluate_tubes(scene.truth, scene.results)
        assert out.key == "official"
        assert out.stats["mask"][AP] == pytest.approx(1)
        assert out.stats["boundary"][AP] == 0

    def test_strict_takes_refined_for_both(self, scene):
        out = evaluate_tubes(scene.truth, scene.results, mode="strict")
        assert out.key == "refined"
        assert out.stats["mask"][AP] == pytest.approx(0.5)  # 50 / 70: thresholds up to 0.70
        assert out.stats["boundary"][AP] == 0

    def test_raw_and_refined_can_be_chosen_in_either_mode(self, scene):
        for mode in ("official", "strict"):
            assert ap(scene, kind="boundary", mode=mode, key="raw") == pytest.approx(1)
            assert ap(scene, mode=mode, key="refined") == pytest.approx(0.5)

    def test_refined_may_be_uncompressed(self, scene):
        rle = scene.truth["annotations"][0]["segmentations"][0]
        from vis import masks

        plain = {"size": rle["size"], "counts": masks.runs(masks.from_coco(rle)).tolist()}
        scene.truth["annotations"][0]["segmentations_refined"] = [plain] * 4
        assert ap(scene, kind="boundary") == pytest.approx(1)

    def test_without_refined_masks_the_key_is_raw(self, Scene):
        scene = Scene().add_truth(BOX).add_result(BOX)
        assert evaluate_tubes(scene.truth, scene.results, key="refined").key == "raw"


class TestUnequalLengths:
    """04: the longer list is cut."""

    @pytest.fixture
    def scene(self, Scene):
        scene = Scene(frames=8).add_truth(BOX).add_result(BOX)
        scene.results[0]["segmentations"] = scene.results[0]["segmentations"][:3]
        return scene

    def test_official_scores_it_as_whole_and_warns(self, scene):
        with pytest.warns(EvaluationWarning, match="result 0, video 1: 3 frames, expected 8"):
            out = evaluate_tubes(scene.truth, scene.results)
        assert out.stats["mask"][AP] == pytest.approx(1)
        assert out.notes["unequal_lengths"] == 1

    def test_strict_refuses(self, scene):
        with pytest.raises(AnnotationError, match="result 0, video 1: 3 frames, expected 8"):
            evaluate_tubes(scene.truth, scene.results, mode="strict")

    def test_strict_can_pad_with_absence(self, scene):
        # 3 of 8 frames: IoU 0.375, no threshold is reached.
        out = evaluate_tubes(scene.truth, scene.results, mode="strict", pad_short=True)
        assert out.stats["mask"][AP] == 0

    def test_padding_counts_the_rest_of_the_truth(self, Scene):
        scene = Scene(frames=8).add_truth(BOX).add_result(BOX)
        scene.results[0]["segmentations"] = scene.results[0]["segmentations"][:6]
        out = evaluate_tubes(scene.truth, scene.results, mode="strict", pad_short=True)
        assert out.stats["mask"][AP] == pytest.approx(0.6)  # IoU 6/8: thresholds up to 0.75

    def test_truth_of_another_length_too(self, Scene):
        scene = Scene().add_truth(BOX).add_result(BOX)
        scene.truth["annotations"][0]["segmentations"].append(None)
        with pytest.raises(AnnotationError, match="annotation 1, video 1: 5 frames, expected 4"):
            evaluate_tubes(scene.truth, scene.results, mode="strict")


def test_05_result_bands_keep_the_ratio_of_002_in_official_mode(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX)
    # Truth band 13 wide (0.06 of the diagonal), result band 4 wide: the IoU is the ratio of the bands.
    band = {d: 3600 - (60 - 2 * d) ** 2 for d in (4, 13)}
    iou = band[4] / band[13]
    official, strict = both(scene, kind="boundary", ratio=0.06)
    assert iou < 0.5
    assert official == 0
    assert strict == pytest.approx(1)


def test_06_crowds_compare_by_plain_iou_in_official_mode(Scene):
    # A small result inside a big crowd: IoU is small, but all of it lies in the crowd.
    scene = Scene().add_truth((0, 0, 90, 100), iscrowd=1).add_truth(FAR)
    scene.add_result((10, 10, 30, 30), score=0.95).add_result(FAR, score=0.5)
    official, strict = both(scene)
    assert official == pytest.approx(0.5)  # a false positive before the hit
    assert strict == pytest.approx(1)  # not counted


def test_07_ignore_is_overwritten_by_iscrowd_in_official_mode(Scene):
    scene = Scene().add_truth(BOX, ignore=1).add_truth(FAR).add_result(FAR)
    official, strict = both(scene, stat=AR100)
    assert (official, strict) == pytest.approx((0.5, 1))


def test_07_a_missing_iscrowd_is_0(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX)
    del scene.truth["annotations"][0]["iscrowd"]
    assert both(scene) == pytest.approx([1, 1])


def test_08_annotation_id_0_never_counts_as_matched_in_official_mode(Scene):
    scene = Scene().add_truth(BOX, id=0).add_result(BOX)
    with pytest.warns(EvaluationWarning, match="annotation id 0"):
        assert evaluate_tubes(scene.truth, scene.results).stats["mask"][AP] == 0
    assert evaluate_tubes(scene.truth, scene.results, mode="strict").stats["mask"][AP] == pytest.approx(1)


def test_08_an_annotation_with_id_0_still_takes_its_match(Scene):
    scene = Scene().add_truth(BOX, id=0).add_truth(BOX, id=1).add_result(BOX).add_result(BOX, score=0.8)
    # Equal IoUs: the later truth is taken first, by the better result; the other goes to id 0.
    assert ap(scene, stat=AR100) == pytest.approx(0.5)


def test_09_areas_come_from_the_file_in_official_mode(Scene):
    scene = Scene().add_truth(BOX, areas=[300**2] * 4).add_result(BOX)
    small, large = STATS.index("APs"), STATS.index("APl")
    assert [ap(scene, stat=s) for s in (small, large)] == pytest.approx([-1, 1])
    assert [ap(scene, stat=s, mode="strict") for s in (small, large)] == pytest.approx([1, -1])
    assert evaluate_tubes(scene.truth, scene.results, mode="strict").notes["area_mismatches"] == 1


def test_09_zero_and_null_areas_are_left_out_of_the_mean(Scene):
    scene = Scene().add_truth([BOX, None, None, BOX], areas=[200**2, None, 0, 200**2]).add_result(BOX)
    assert ap(scene, stat=STATS.index("ARm")) > -1


def test_10_an_all_null_result_is_a_false_positive_in_official_mode(Scene):
    scene = Scene().add_truth(BOX).add_result([None] * 4, score=0.95).add_result(BOX, score=0.5)
    official, strict = both(scene)
    assert (official, strict) == pytest.approx((0.5, 1))
    assert evaluate_tubes(scene.truth, scene.results, mode="strict").notes["empty_results"] == 1


def test_10_and_counts_among_small_ones(Scene):
    scene = Scene().add_truth(BOX).add_result([None] * 4, score=0.95).add_result(BOX, score=0.5)
    assert ap(scene, stat=STATS.index("APs")) == pytest.approx(0.5)


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_11_no_results_give_0_and_a_warning(Scene, mode):
    with pytest.warns(EvaluationWarning, match="no results"):
        out = evaluate_tubes(Scene().add_truth(BOX).truth, [], mode=mode)
    assert out.stats["mask"][AP] == 0
    assert out.stats["boundary"][AR100] == 0


def test_11_every_result_is_checked_not_the_first_only(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX).add_result(BOX)
    del scene.results[1]["segmentations"]
    with pytest.raises(AnnotationError, match="result 1, video 1: segmentations"):
        evaluate_tubes(scene.truth, scene.results)


def test_12_overall_ap_wants_100_detections_in_official_mode(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX)
    official, strict = both(scene, max_dets=(1, 10, 50))
    assert (official, strict) == pytest.approx((-1, 1))


def test_12_100_among_other_limits_is_found(Scene):
    assert ap(Scene().add_truth(BOX).add_result(BOX), max_dets=(1, 100, 500)) == pytest.approx(1)


def test_13_limits_can_be_chosen(Scene):
    scene = Scene().add_truth(BOX)
    for i in range(3):
        scene.add_result(FAR, score=0.9 - 0.1 * i)
    scene.add_result(BOX, score=0.1)
    assert [ap(scene, stat=s, max_dets=(1, 3, 4)) for s in (AR1, AR10, AR100)] == [0, 0, 1]
    with pytest.raises(UsageError, match="three rising limits"):
        evaluate_tubes(scene.truth, scene.results, max_dets=(1, 1, 3))


def test_14_ties_follow_the_file_and_are_counted(Scene):
    scene = Scene().add_truth(BOX).add_result(FAR, score=0.5).add_result(BOX, score=0.5)
    assert both(scene) == pytest.approx([0.5, 0.5])
    scene.results.reverse()
    assert both(scene) == pytest.approx([1, 1])
    assert evaluate_tubes(scene.truth, scene.results).notes["score_ties"] == 1


def test_15_unknown_videos_are_errors(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX, video=9)
    for mode in ("official", "strict"):
        with pytest.raises(AnnotationError, match="video 9 is not in the truth"):
            evaluate_tubes(scene.truth, scene.results, mode=mode)


def test_15_unknown_categories_are_unused_or_an_error(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX, category=77, score=0.95).add_result(BOX)
    with pytest.warns(EvaluationWarning, match="1 results of categories"):
        assert evaluate_tubes(scene.truth, scene.results).stats["mask"][AP] == pytest.approx(1)
    with pytest.raises(AnnotationError, match="category 77"):
        evaluate_tubes(scene.truth, scene.results, mode="strict")


def test_15_annotations_of_unlisted_categories_are_left_out_or_an_error(Scene):
    scene = Scene().add_truth(BOX).add_truth(FAR, category=77).add_result(BOX)
    with pytest.warns(EvaluationWarning, match="1 annotations"):
        assert evaluate_tubes(scene.truth, scene.results).stats["mask"][AR100] == pytest.approx(1)
    with pytest.raises(AnnotationError, match="category 77 is not listed"):
        evaluate_tubes(scene.truth, scene.results, mode="strict")


def test_16_sizes_are_checked_in_both_modes(Scene):
    scene = Scene().add_truth(BOX).add_result(BOX)
    scene.results[0]["segmentations"][2] = {"size": [200, 100], "counts": [20_000]}
    for mode in ("official", "strict"):
        with pytest.raises(
            AnnotationError, match=r"result 0, video 1, frame 2: size \[200, 100\], expected \[100, 200\]"
        ):
            evaluate_tubes(scene.truth, scene.results, mode=mode)


def test_16_empty_unions_are_0(Scene):
    scene = Scene().add_truth([None] * 4).add_result([None] * 4)
    assert np.isfinite(evaluate_tubes(scene.truth, scene.results).stats["mask"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "loose"}, "official or strict"),
        ({"pad_short": True}, "pad_short is for mode strict"),
        ({"threads": 0}, "threads: expected 1 or more"),
        ({"kinds": ("mask", "box")}, "kinds: expected one or more of mask, boundary, got mask, box"),
        ({"kinds": ()}, "kinds: expected one or more of mask, boundary, got none"),
        ({"ratio": float("nan")}, "ratio: expected a share"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(Scene, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate_tubes(Scene().truth, [], **options)


def test_a_kind_that_is_named_twice_is_computed_once(Scene):
    scene = Scene().add_truth(BOX).add_truth(FAR).add_result(BOX)
    once, twice = (evaluate_tubes(scene.truth, scene.results, kinds=("mask",) * n) for n in (1, 2))
    assert twice.stats == once.stats
    assert len(twice.matches["mask"]) == len(once.matches["mask"])


def test_a_split_without_public_truth_says_what_to_do(Scene):
    truth = Scene().truth
    for value in (None, "absent"):
        truth["annotations"] = value
        if value == "absent":
            del truth["annotations"]
        with pytest.raises(AnnotationError, match=r"not public.*vistubes eval zip"):
            evaluate_tubes(truth, [])


def test_results_given_as_the_truth_are_told_apart_from_a_split_without_truth(Scene, tmp_path):
    scene = Scene().add_truth([None] * 4).add_result([None] * 4)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(scene.results))
    with pytest.raises(AnnotationError, match=r"results.json: expected an object with videos.*got a list"):
        evaluate_tubes(path, scene.results)

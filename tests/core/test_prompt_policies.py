"""The refiner's prompt policies: what each asks the network, and what it keeps of the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from vis.errors import UsageError
from vis.prompt_policies import (
    MEMORY,
    NO_SUB_PART,
    POLICIES,
    PROMPT_LOGIT,
    HQSamRefiner,
    deepest_point,
    mask_prompt,
)
from vis.structures import Detections

SIZE = (60, 80)


@dataclass
class Answer:
    masks: Any
    low_res_logits: Any
    three_scores: Any = None


class BoxNetwork:
    """A predictor whose mask is the box, and that remembers what it was asked."""

    def __init__(self, three_scores: Any = None) -> None:
        self.three_scores = three_scores
        """(frames, 3): SAM's estimates, the same for all objects of a frame; the last holds on."""
        self.mask_side = 256
        self.embedded = 0
        self.asked: list[dict[str, Any]] = []

    def embed(self, image: Any) -> str:
        self.embedded += 1
        return "embedding"

    def decode(self, embedding: str, *, boxes: Any, **prompts: Any) -> Answer:
        assert embedding == "embedding"
        self.asked.append({"boxes": boxes, **prompts})
        masks = np.zeros((len(boxes), *SIZE), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        three = None
        if prompts.get("best_of_three"):
            frame = min(self.embedded, len(self.three_scores)) - 1
            three = np.repeat(np.array(self.three_scores[frame : frame + 1], np.float32), len(boxes), axis=0)
        return Answer(masks, np.zeros((len(boxes), 256, 256), np.float32), three)


def detections(boxes: list[list[float]], masks: Any = None) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(n, 0.5, np.float32),
        np.arange(n, dtype=np.int64),
        masks,
        np.arange(1, n + 1),
    )


IMAGE = np.zeros((*SIZE, 3), np.uint8)
BOXES = [[10.0, 10.0, 30.0, 30.0], [40.0, 20.0, 70.0, 50.0], [0.0, 0.0, 8.0, 8.0]]


def coarse() -> Any:
    """The first mask fills most of its box, the second lies elsewhere, the third is empty."""
    masks = np.zeros((3, *SIZE), np.bool_)
    masks[0, 11:29, 11:29] = True
    masks[1, 52:58, 2:12] = True
    return masks


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_order_boxes_and_scores_are_kept(policy: str) -> None:
    before = detections(BOXES, coarse())
    after = HQSamRefiner(BoxNetwork(), policy=policy).refine(IMAGE, before)  # type: ignore[arg-type]
    assert after.masks is not None
    assert after.masks.shape == (3, *SIZE)
    for name in ("boxes", "scores", "labels", "track_ids"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert np.array_equal(before.masks, coarse()), "the input was written to"


def test_a_frame_is_embedded_once_and_not_at_all_without_objects() -> None:
    network = BoxNetwork()
    refiner = HQSamRefiner(network)  # type: ignore[arg-type]
    refiner.refine(IMAGE, detections(BOXES))
    assert network.embedded == 1
    nothing = refiner.refine(IMAGE, detections([]))
    assert network.embedded == 1
    assert nothing.masks is not None
    assert nothing.masks.shape == (0, *SIZE)


def test_box_policy_asks_with_boxes_inside_the_frame_alone() -> None:
    network = BoxNetwork()
    boxes = [[-5.0, -5.0, 20.0, 20.0], [70.0, 50.0, 200.0, 90.0]]
    HQSamRefiner(network).refine(IMAGE, detections(boxes))  # type: ignore[arg-type]
    (asked,) = network.asked
    assert asked["boxes"].tolist() == [[0, 0, 20, 20], [70, 50, 80, 60]]
    assert "masks" not in asked
    assert "points" not in asked


def test_a_box_beside_the_frame_keeps_its_coarse_mask() -> None:
    network = BoxNetwork()
    before = detections([[100.0, 100.0, 120.0, 120.0], BOXES[0]], coarse()[1::-1].copy())
    after = HQSamRefiner(network).refine(IMAGE, before)  # type: ignore[arg-type]
    assert before.masks is not None
    assert after.masks is not None
    assert np.array_equal(after.masks[0], before.masks[0])
    assert len(network.asked[0]["boxes"]) == 1


def test_gate_keeps_the_coarse_mask_where_the_refined_one_disagrees() -> None:
    refiner = HQSamRefiner(BoxNetwork(), policy="gated", gate=0.5)  # type: ignore[arg-type]
    after = refiner.refine(IMAGE, detections(BOXES, coarse()))
    assert after.masks is not None
    assert after.masks[0].sum() == 400, "agreed: IoU 324 / 400"
    assert np.array_equal(after.masks[1], coarse()[1]), "disagreed: IoU 0"
    assert refiner.counts.kept_coarse == 2
    refiner.reset()
    assert refiner.counts.objects == 0


def test_gate_without_coarse_masks_keeps_what_is_refined() -> None:
    after = HQSamRefiner(BoxNetwork(), policy="gated").refine(IMAGE, detections(BOXES))  # type: ignore[arg-type]
    assert after.masks is not None
    assert [int(mask.sum()) for mask in after.masks] == [400, 900, 64]


@pytest.mark.parametrize(("overlap", "most"), [("keep", 2), ("resolve", 1)])
def test_masks_of_a_frame_share_no_pixel_where_that_is_asked(overlap: str, most: int) -> None:
    before = detections([[10, 10, 40, 40], [30, 10, 60, 40], [0, 50, 10, 60]])
    after = HQSamRefiner(BoxNetwork(), overlap=overlap).refine(IMAGE, before)  # type: ignore[arg-type]
    assert after.masks is not None
    assert after.masks.sum(axis=0).max() == most
    assert after.masks.any(axis=0).sum() == 50 * 30 + 10 * 10


def test_of_two_objects_on_one_thing_the_older_has_it() -> None:
    before = replace(detections([[10, 10, 40, 40], [11, 10, 41, 40]]), track_ids=np.array([8, 2]))
    after = HQSamRefiner(BoxNetwork(), overlap="resolve").refine(IMAGE, before)  # type: ignore[arg-type]
    assert after.masks is not None
    assert after.masks.any(axis=(1, 2)).tolist() == [False, True]


@pytest.mark.parametrize(("policy", "extra"), [("box+mask", "masks"), ("box+points", "points")])
def test_coarse_masks_become_prompts_and_empty_ones_do_not(policy: str, extra: str) -> None:
    network = BoxNetwork()
    HQSamRefiner(network, policy=policy).refine(IMAGE, detections(BOXES, coarse()))  # type: ignore[arg-type]
    plain, prompted = network.asked
    assert extra not in plain
    assert plain["boxes"].tolist() == [BOXES[2]]
    assert len(prompted[extra]) == 2
    if policy == "box+points":
        assert prompted["point_labels"].tolist() == [[1], [1]]
        x, y = prompted["points"][0, 0]
        assert (x, y) in {(19, 19), (19, 20), (20, 19), (20, 20)}


def test_mask_prompt_is_laid_out_as_the_network_sees_the_frame() -> None:
    """The longer side becomes 256; what is outside the frame is background."""
    mask = np.zeros((1, *SIZE), np.bool_)
    mask[0, 30:, 40:] = True
    prompt = mask_prompt(mask)
    assert prompt.shape == (1, 256, 256)
    assert prompt.dtype == np.float32
    expected = np.full((256, 256), -PROMPT_LOGIT, np.float32)
    expected[96:192, 128:256] = PROMPT_LOGIT
    assert np.array_equal(prompt[0], expected)


def test_deepest_point_counts_the_frames_border_as_a_border() -> None:
    mask = np.zeros((9, 21), np.bool_)
    mask[:, :9] = True
    assert deepest_point(mask).tolist() == [4, 4]
    mask = np.zeros((30, 30), np.bool_)
    mask[5, 7] = True
    assert deepest_point(mask).tolist() == [7, 5]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("choose", [False, True])
def test_every_policy_may_choose_between_whole_and_part(policy: str, choose: bool) -> None:
    network = BoxNetwork([[0.9, 0.6, 0.7]])
    refiner = HQSamRefiner(network, policy=policy, multimask_selection="tube" if choose else "single")  # type: ignore[arg-type]
    refiner.refine(IMAGE, detections(BOXES, coarse()))
    for asked in network.asked:
        assert asked.get("best_of_three", False) is choose
        if choose:  # the sub-part, of the highest estimate here, does not win
            assert ((np.array([0.9, 0.6, 0.7]) + asked["iou_bias"]).argmax(axis=1) == 2).all()
    with pytest.raises(UsageError, match="hq_token_only leaves SAM's out; choose one"):
        HQSamRefiner(network, multimask_selection="tube", hq_token_only=True)  # type: ignore[arg-type]


def test_earlier_frames_of_a_tube_have_a_say_in_the_choice() -> None:
    """The running mean of the estimates is known in closed form, and the choice is by it."""
    scores = np.array([[0.5, 0.9, 0.8], [0.9, 0.6, 0.9], [0.5, 0.6, 0.9], [0.5, 0.2, 0.9]])
    network = BoxNetwork(scores)
    refiner = HQSamRefiner(network, multimask_selection="tube")  # type: ignore[arg-type]
    mean, chosen = None, []
    for now in scores:
        refiner.refine(IMAGE, detections(BOXES))
        iou_bias = network.asked[-1]["iou_bias"]
        assert iou_bias.shape == (3, 3)
        assert (iou_bias == iou_bias[0]).all(), "all objects were told the same"
        mean = now if mean is None else MEMORY * mean + (1 - MEMORY) * now
        assert int((now + iou_bias[0]).argmax()) == 1 + int(mean[1:].argmax())
        chosen.append(1 + int(mean[1:].argmax()))
    assert chosen == [1, 1, 2, 2], "frame by frame it would be 1, 2, 2, 2"


def test_memory_is_of_one_object_and_of_consecutive_frames() -> None:
    network = BoxNetwork([[0.9, 0.5, 0.8]])
    refiner = HQSamRefiner(network, multimask_selection="tube")  # type: ignore[arg-type]
    refiner.refine(IMAGE, detections(BOXES[:2]))
    refiner.refine(IMAGE, detections(BOXES))  # the third is new
    assert (network.asked[-1]["iou_bias"] != NO_SUB_PART).any(axis=1).tolist() == [True, True, False]
    other = HQSamRefiner(network, multimask_selection="tube")  # type: ignore[arg-type]
    other.load_state_dict(refiner.state_dict())
    assert other.counts == refiner.counts
    for one in (refiner, other):
        one.refine(IMAGE, detections(BOXES))
    first, second = (asked["iou_bias"] for asked in network.asked[-2:])
    assert (first != NO_SUB_PART).all()
    np.testing.assert_array_equal(first, second)
    refiner.refine_some(IMAGE, detections(BOXES[:1]))
    refiner.refine(IMAGE, detections(BOXES))
    assert (network.asked[-1]["iou_bias"] != NO_SUB_PART).all(), "the others were not asked for, and not away"
    refiner.refine(IMAGE, detections([]))
    refiner.refine(IMAGE, detections(BOXES))
    assert (network.asked[-1]["iou_bias"] == NO_SUB_PART).all(), "they were away for a frame"
    other.reset()
    other.refine(IMAGE, detections(BOXES))
    assert (network.asked[-1]["iou_bias"] == NO_SUB_PART).all(), "another video"
    other.refine(IMAGE, replace(detections(BOXES), track_ids=None))
    assert (network.asked[-1]["iou_bias"] == NO_SUB_PART).all(), "nobody knows what they were"


@pytest.mark.parametrize(("former", "present"), [(True, "tube"), (False, "single")])
def test_the_former_name_of_the_choice_works_and_warns(former: bool, present: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=r"HQSamRefiner\(\): whole_or_part is now called multimask_selection"
    ):
        refiner = HQSamRefiner(BoxNetwork(), whole_or_part=former)  # type: ignore[arg-type, call-arg]
    assert refiner.multimask_selection == present
    with pytest.warns(DeprecationWarning, match=r"HQSamRefiner\.whole_or_part is now called"):
        assert refiner.whole_or_part is former


def test_unknown_policy_and_gate_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="choose one of box, box\\+mask"):
        HQSamRefiner(BoxNetwork(), policy="boxes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="between 0 and 1"):
        HQSamRefiner(BoxNetwork(), gate=2)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="multimask_selection 'best' is unknown; choose one of single, tube"):
        HQSamRefiner(BoxNetwork(), multimask_selection="best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="overlap 'mine' is unknown; choose one of keep, resolve"):
        HQSamRefiner(BoxNetwork(), overlap="mine")  # type: ignore[arg-type]

"""LVIS' federated rule: closed forms, and the published evaluator's numbers on a generated set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vis import masks
from vis.errors import AnnotationError
from vis.evaluation import evaluate_images
from vis.evaluation.report import frequency_rows

SIZE = 60, 80
LIMITS = 1, 10, 300
GOLDEN = (
    *(0.35442188134456626, 0.4692997275918069, 0.40224207761579145),
    *(0.35201052828115537, 0.4157920792079208, -1.0),
    *(0.33611903452249986, 0.4559544609923177, 0.2711921485188811),
    *(0.5222426647426648, 0.514016354016354, 0.4466666666666667, -1.0),
)
"""From the lvis package, see :func:`test_the_published_evaluator_gives_the_same`."""


def rle(x0: int, y0: int, x1: int, y1: int) -> dict:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return masks.to_coco(masks.encode(mask))


def truth_of(boxes: list[tuple[int, int, tuple]], *, absent=(), open_=(), images=1, categories=3) -> dict:
    """Truth from (image, category, box)."""
    return {
        "images": [
            {
                "id": i + 1,
                "height": SIZE[0],
                "width": SIZE[1],
                "neg_category_ids": list(absent),
                "not_exhaustive_category_ids": list(open_),
            }
            for i in range(images)
        ],
        "categories": [{"id": c + 1, "name": f"c{c}", "frequency": "rcf"[c % 3]} for c in range(categories)],
        "annotations": [
            {
                "id": k + 1,
                "image_id": image,
                "category_id": category,
                "segmentation": rle(*box),
                "area": (box[2] - box[0]) * (box[3] - box[1]),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            }
            for k, (image, category, box) in enumerate(boxes)
        ],
    }


def result(category: int, score: float, box: tuple, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "score": score, "segmentation": rle(*box)}


def ap(truth: dict, results: list[dict], **options) -> float:
    options = {"federated": True, "max_dets": LIMITS, "kinds": ("mask",)} | options
    return round(evaluate_images(truth, results, **options).stats["mask"][0], 12)


BOX, AWAY = (10, 10, 30, 30), (40, 20, 70, 50)


def test_classes_that_were_not_looked_for_cost_nothing():
    truth = truth_of([(1, 1, BOX), (2, 2, BOX)], images=2)
    right = [result(1, 0.5, BOX), result(2, 0.5, BOX, image=2)]
    stray = result(2, 0.9, AWAY)  # class 2 was not looked for in image 1
    assert ap(truth, [*right, stray]) == 1
    assert ap(truth, [*right, stray], federated=False, max_dets=(1, 10, 100)) == pytest.approx(0.75)
    for image in truth["images"]:
        image["neg_category_ids"] = [2] if image["id"] == 1 else []
    assert ap(truth, [*right, stray]) == pytest.approx(0.75)


def test_false_results_of_open_classes_cost_nothing_but_hits_count():
    results = [result(1, 0.9, AWAY), result(1, 0.5, BOX)]
    assert ap(truth_of([(1, 1, BOX)]), results) == pytest.approx(0.5)
    assert ap(truth_of([(1, 1, BOX)], open_=[1]), results) == 1
    assert ap(truth_of([(1, 1, BOX)], open_=[2]), results) == pytest.approx(0.5)
    assert ap(truth_of([(1, 1, BOX)], open_=[1]), results[:1]) == 0


def test_the_limit_holds_for_an_image_not_for_a_class():
    truth = truth_of([(1, 1, BOX), (1, 2, AWAY)])
    results = [result(1, 0.9, BOX), result(2, 0.8, AWAY), result(1, 0.85, (0, 0, 5, 5))]
    assert ap(truth, results, max_dets=(1, 2, 3)) == 1
    more = [*results, result(1, 0.84, (0, 0, 6, 6))]
    found = evaluate_images(truth, more, federated=True, max_dets=(1, 2, 3), kinds=("mask",))
    assert found.notes["over_the_limit"] == 1
    assert found.stats["mask"][0] == pytest.approx(0.5)  # the hit of class 2 was the fourth of its image


def test_frequencies_are_those_of_the_classes():
    truth = truth_of([(1, 1, BOX), (1, 2, AWAY)])
    evaluation = evaluate_images(
        truth, [result(1, 0.9, BOX)], federated=True, max_dets=LIMITS, kinds=("mask",)
    )
    assert frequency_rows(evaluation)["mask"] == pytest.approx({"r": 1.0, "c": 0.0, "f": -1.0})


def test_files_that_do_not_say_are_refused():
    truth = truth_of([(1, 1, BOX)], images=2)
    del truth["images"][1]["neg_category_ids"]
    with pytest.raises(
        AnnotationError, match="video 2: neg_category_ids or not_exhaustive_category_ids is missing"
    ):
        ap(truth, [])
    truth["images"][1]["neg_category_ids"] = ["cat"]
    with pytest.raises(
        AnnotationError,
        match=r"image 1 \(id 2\): expected a list of category ids, whole numbers, as neg_category_ids",
    ):
        ap(truth, [])


def generated() -> tuple[dict, list[dict]]:
    """12 images, 9 classes; numbers by a linear congruence, so that they stay what they are."""
    state = 7

    def draw(n: int) -> int:
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return (state >> 8) % n

    def box() -> tuple:
        x, y = draw(60), draw(40)
        return x, y, x + 4 + draw(80 - x - 4), y + 4 + draw(60 - y - 4)

    boxes = [(1 + draw(12), 1 + draw(9), box()) for _ in range(70)]
    truth = truth_of(boxes, images=12, categories=9)
    for image in truth["images"]:
        present = {category for number, category, _ in boxes if number == image["id"]}
        image["neg_category_ids"] = [c for c in range(1, 10) if c not in present and draw(3) == 0]
        image["not_exhaustive_category_ids"] = [c for c in sorted(present) if draw(3) == 0]
    results = []
    for image, category, (x0, y0, x1, y1) in boxes:
        for _ in range(draw(4)):
            shift = draw(5) - 2
            moved = max(0, x0 + shift), max(0, y0 - shift), min(80, x1 + draw(3)), min(60, y1)
            results.append(result(category if draw(6) else 1 + draw(9), (1 + draw(99)) / 100, moved, image))
    results += [result(1 + draw(9), (1 + draw(99)) / 100, box(), 1 + draw(12)) for _ in range(60)]
    return truth, results


def test_the_published_evaluator_gives_the_same(compute):
    """The lvis package 0.5.3, with ``np.float = float`` because it predates numpy 1.24, on the set above:

    ``LVISEval(LVIS(truth), results, "segm").run()``, its AP, AP50, AP75, APs, APm, APl, APr, APc, APf, AR@300,
    ARs@300, ARm@300, ARl@300.
    """
    truth, results = generated()
    found = evaluate_images(truth, results, federated=True, max_dets=LIMITS, kinds=("mask",), compute=compute)
    stats = found.stats["mask"]
    ours = [*stats[:6], *frequency_rows(found)["mask"].values(), stats[8], *stats[9:]]
    np.testing.assert_allclose(ours, GOLDEN, rtol=0, atol=1e-12)


def test_the_command_finds_the_rule_in_the_file(tmp_path, capsys):
    from apps.cli import main

    truth, results = generated()
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "r.json").write_text(json.dumps(results))
    words = [
        "eval",
        "coco",
        "--truth",
        str(tmp_path / "gt.json"),
        "--results",
        str(tmp_path / "r.json"),
        "--json",
    ]
    assert main(words) == 0
    out = capsys.readouterr()
    answer = json.loads(out.out)
    assert answer["federated"] is True
    assert answer["max_dets"] == [1, 10, 300]
    np.testing.assert_allclose(answer["mask"][0], GOLDEN[0], rtol=0, atol=1e-12)
    assert answer["boundary"][0] <= answer["mask"][0]
    assert set(answer["ap_by_frequency"]) == {"mask", "boundary", "strict_boundary"}
    assert "federated rule, 300 results per image" in out.err
    assert main([*words, "--federated", "no"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["federated"] is False
    assert answer["mask"][0] < GOLDEN[0]

"""What a finished video is known by stays the same from version to version: a batch of 0.1 goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apps.batch.work import Settings, work_keys
from apps.plan import Plan, Selection
from vis import __version__

ASSOCIATION = "ccfd489d3acb681bfdc6a4e1932fbf0e"
"""As version 0.1 names it, and the results below."""


def keys(plan: Plan, **made_with: Any) -> tuple[str, str]:
    refiner = {} if plan.model is None else {"head": "1" * 64}
    made = {
        "program": "vis-tubes",
        "version": __version__,
        "options": plan.record(),
        "weights_sha256": {"detector": "0" * 64, **refiner},
        **made_with,
    }
    source = {"name": "clip.mp4", "sha256": "2" * 64, "bytes": 3, "files": 1}
    found = work_keys(source, Settings(plan, "out", Selection()), made, refiner)
    return found["association"], found["result"]


PLAN = Plan.of("paper", detector="motion", tracker="iou", model="none", score=0.3)
REFINED = {"model": "hq-tiny", "multimask_selection": "tube", "precision": "exact"}


@pytest.mark.parametrize(
    ("changes", "result"),
    [({}, "361f553668c8ee941c20e9ca271e204e"), (REFINED, "3aad4521a0de4752ca26f06a9d157409")],
)
def test_what_0_1_has_finished_is_known(changes: dict[str, Any], result: str) -> None:
    plan = replace(PLAN, **changes)
    assert keys(plan) == keys(plan, found_by="motion") == (ASSOCIATION, result)


@pytest.mark.parametrize(
    "changes",
    [
        {"link": True},
        {"overlap": "resolve"},
        {"clean": True},
        {"multimask_selection": "tube"},
        {"model": "hq-b"},
    ],
)
def test_what_0_1_had_not_is_another_result_of_the_same_association(changes: dict[str, Any]) -> None:
    association, result = keys(replace(PLAN, **changes))
    assert association == ASSOCIATION
    assert result != keys(PLAN)[1]
    assert keys(PLAN, found_by="ssd + salient")[1] != keys(PLAN)[1]

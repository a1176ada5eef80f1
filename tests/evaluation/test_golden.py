"""Official mode equals the published evaluator: all stored statistics of all golden sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vis.evaluation import evaluate_tubes

SETS = ("toy_saco_veval_sav_test", "synthetic_seed0")


@pytest.mark.shared_data
@pytest.mark.parametrize("class_agnostic", [False, True], ids=["classes", "pooled"])
@pytest.mark.parametrize("name", SETS)
def test_all_statistics_of_the_golden_sets(shared_data, name, class_agnostic):
    golden = shared_data / "golden"
    entry = json.loads((golden / "expected.json").read_text())["sets"][name]
    ours = evaluate_tubes(golden / entry["gt"], golden / entry["pred"], class_agnostic=class_agnostic)
    for kind in ("mask", "boundary"):
        expected = entry["stats"][kind + "_useCats0" * class_agnostic]
        np.testing.assert_allclose(ours.stats[kind], expected, rtol=0, atol=1e-12)


@pytest.mark.shared_data
def test_the_golden_list_is_covered(shared_data):
    assert set(json.loads((shared_data / "golden" / "expected.json").read_text())["sets"]) == set(SETS)

"""Results saved, read back and evaluated in Python; detections as other tools know them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vis
from vis import masks
from vis.errors import DependencyError, EvaluationWarning, InputError, OutputError, UsageError
from vis.formats.tubes import to_json
from vis.structures import VideoInfo


def tube(number: int, left: int, *, frames: int = 3, label: int = 0) -> vis.Tube:
    """A square of 20 x 20 pixels that stands still."""
    mask = np.zeros((60, 80), np.bool_)
    mask[10:30, left : left + 20] = True
    box = np.tile(np.array([left, 10, left + 20, 30], np.float32), (frames, 1))
    scores = np.full(frames, 0.5, np.float32)
    return vis.Tube(number, label, 0.5, np.arange(frames), box, scores, (masks.encode(mask),) * frames)


def result(*tubes: vis.Tube, names: tuple[str, ...] = ("cat", "dog")) -> vis.VideoResult:
    return vis.VideoResult(VideoInfo("clip", 60, 80), names, tubes, np.arange(3), np.arange(3) / 10)


def test_a_result_reads_back_from_a_file_and_from_a_folder(tmp_path: Path) -> None:
    saved = result(tube(1, 5))
    for path in (tmp_path / "own.json", tmp_path / "new" / "folder"):
        vis.write_results(saved, path)
        assert to_json(vis.read_results(path)) == to_json(saved)
    (entry,) = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert len(entry["segmentations"]) == 3
    # Boxes only: YTVIS results cannot hold them, and those from before would tell of another result.
    vis.write_results(result(replace(tube(1, 5), masks=None)), tmp_path / "new" / "folder")
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["tubes.json"]


def test_a_runs_folder_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a run of this program"):
        vis.write_results(result(tube(1, 5)), tmp_path)
    with pytest.raises(OutputError, match="the folder cannot be made"):
        vis.write_results(result(tube(1, 5)), tmp_path / "run.json" / "below")
    with pytest.raises(InputError):
        vis.read_results(tmp_path)


def test_evaluate_gives_named_scores_and_goes_by_class_names(tmp_path: Path) -> None:
    truth = result(tube(1, 5), tube(2, 50, label=1))
    vis.write_results(truth, tmp_path / "truth.json")
    # Other numbers for the same names.
    same = result(tube(7, 5, label=1), tube(9, 50, label=0), names=("dog", "cat"))
    scores = vis.evaluate(tmp_path / "truth.json", same)
    assert (scores.mask.ap, scores.mask.ar1, scores.boundary.ap50) == pytest.approx((1, 1, 1))
    assert scores.mask.ap_large == -1
    # Two columns of twenty aside: IoU 18 / 22 = .818, which is right at the seven thresholds to .80.
    aside = vis.evaluate([truth, truth], [result(tube(1, 7)), result(tube(2, 52, label=1))])
    assert aside.mask.ap == pytest.approx(0.7 * 0.5, abs=0.01)
    assert aside.boundary.ap < aside.mask.ap


def test_frames_that_the_result_lacks_count_as_empty() -> None:
    truth = result(tube(1, 5))
    half = vis.evaluate(truth, result(tube(1, 5, frames=2)))  # IoU 2/3
    assert (half.mask.ap50, half.mask.ap75) == pytest.approx((1, 0))


def test_what_cannot_be_compared_says_why() -> None:
    truth = result(tube(1, 5))
    with pytest.raises(UsageError, match="1 videos of truth but 2 of results"):
        vis.evaluate(truth, [truth, truth])
    with pytest.raises(UsageError, match="tube 1 has boxes only"):
        vis.evaluate(truth, result(replace(tube(1, 5), masks=None)))
    small = vis.VideoResult(VideoInfo("small", 6, 8), (), (), np.arange(3), np.arange(3) / 10)
    with pytest.raises(UsageError, match=r"small: the result is of \(6, 8\).*\(60, 80\)"):
        vis.evaluate(truth, small)
    with pytest.warns(EvaluationWarning, match="there are no results"):
        assert vis.evaluate(truth, result()).mask.ap == 0


@dataclass
class Others:
    """The fields of ``supervision.Detections``."""

    xyxy: Any
    mask: Any = None
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: dict[str, Any] = field(default_factory=dict)


DETECTIONS = vis.Detections(
    np.array([[1, 2, 3, 4], [0, 0, 5, 6]], np.float32),
    np.array([0.5, 0.25], np.float32),
    np.array([1, 0]),
    np.eye(2, dtype=bool)[:, None],
    np.array([4, 2]),
    np.eye(2, 5, dtype=np.float32),
)


@pytest.mark.parametrize("found", [DETECTIONS, vis.Detections.empty()])
def test_detections_there_and_back(found: vis.Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("supervision")
    module.Detections = Others
    monkeypatch.setitem(sys.modules, "supervision", module)
    other = found.to_supervision(("cat", "dog"))
    assert other.data["class_name"].tolist() == ["dog", "cat"][: len(found)]
    back = vis.Detections.from_supervision(other)
    for name in ("boxes", "scores", "labels", "masks", "track_ids", "embeddings"):
        np.testing.assert_equal(getattr(back, name), getattr(found, name))


def test_detections_of_other_tools_may_lack_fields_and_have_other_types() -> None:
    bare = vis.Detections.from_supervision(Others(np.array([[1, 2, 3, 4]], np.float64)))
    assert (bare.scores.tolist(), bare.labels.tolist(), bare.masks, bare.track_ids) == ([1], [0], None, None)
    other = Others(np.zeros((1, 4)), np.ones((1, 2, 3), np.uint8), np.array([0.5]), np.array([3], np.int32))
    assert vis.Detections.from_supervision(other).masks is not None
    with pytest.raises(UsageError, match=r"not above 0.*found\[found.tracker_id > 0\]"):
        vis.Detections.from_supervision(Others(np.zeros((1, 4)), tracker_id=np.array([-1])))


def test_without_the_package_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(DependencyError, match="pip install supervision"):
        DETECTIONS.to_supervision()


def test_identity_metrics_and_files_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from apps.cli import main
    from vis.formats import ytvis_set

    truth, found = result(tube(1, 5)), result(tube(1, 7))
    scores = vis.evaluate(truth, found)
    assert len(scores.identity) == 1
    assert scores.identity[0].idf1 == 1.0
    assert vis.evaluate(truth, truth).identity[0].hota == pytest.approx(1)
    ytvis_set.write_truth(tmp_path / "truth.json", [truth])
    ytvis_set.write_results(tmp_path / "results.json", [found])
    same = vis.evaluate(tmp_path / "truth.json", tmp_path / "results.json")
    assert (same.mask, same.boundary) == (scores.mask, scores.boundary)
    assert same.identity[0].hota == pytest.approx(scores.identity[0].hota)
    with pytest.raises(UsageError, match="name no video"):
        vis.evaluate(truth, tmp_path / "results.json")
    words = ["eval", "identity", str(tmp_path / "truth.json"), str(tmp_path / "results.json"), "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["hota"] == pytest.approx(scores.identity[0].hota)
    assert (answer["id_switches"], len(answer["videos"])) == (0, 1)
    assert "hota" in err

"""Files written here are read by the formats' own public readers, and files of theirs by ours.

pycocotools, TrackEval, motmetrics and datumaro (CVAT's importer) are test-only and optional: a test
whose reader is not installed is skipped by name.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vis import masks
from vis.formats import coco, cvat, davis, mot, mots, ytvis_set
from vis.structures import VideoResult


@pytest.fixture
def flat(make_result: Any) -> VideoResult:
    """Two objects that do not touch, in frames of their own, of KITTI's two classes."""
    stack = np.zeros((2, 4, 12, 17), np.bool_)
    for frame in range(4):
        stack[0, frame, 1:5, frame : frame + 5] = True
        stack[1, frame, 7:11, 2 + frame : 9 + frame] = True
    return make_result(
        [(1, [0, 1, 3], stack[0, [0, 1, 3]]), (2, [1, 2], stack[1, [1, 2]])],
        4,
        names=("car", "pedestrian"),
        labels={2: 1},
    )


def quiet() -> Any:
    return contextlib.redirect_stdout(io.StringIO())


def test_pycocotools_reads_our_coco(flat: VideoResult, tmp_path: Path) -> None:
    api = pytest.importorskip("pycocotools.coco")
    coco.write(tmp_path / "c.json", [flat])
    with quiet():
        data = api.COCO(str(tmp_path / "c.json"))
    assert len(data.getImgIds()) == 4
    assert [c["name"] for c in data.loadCats(data.getCatIds())] == ["car", "pedestrian"]
    tube = flat.tubes[1]
    found = [a for a in data.loadAnns(data.getAnnIds()) if a["category_id"] == 2]
    for annotation, mask in zip(found, tube.masks or (), strict=True):
        np.testing.assert_array_equal(data.annToMask(annotation).astype(bool), masks.decode(mask))
        assert annotation["area"] == masks.area(mask)


def test_pycocotools_scores_our_coco_as_perfect(flat: VideoResult, tmp_path: Path) -> None:
    api = pytest.importorskip("pycocotools.coco")
    scorer = pytest.importorskip("pycocotools.cocoeval")
    coco.write(tmp_path / "c.json", [flat])
    content = json.loads((tmp_path / "c.json").read_text())
    with quiet():
        truth = api.COCO(str(tmp_path / "c.json"))
        found = truth.loadRes(content["annotations"])
        run = scorer.COCOeval(truth, found, "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert run.stats[0] == pytest.approx(1.0)


def trackeval_kitti_mots(folder: Path, result: VideoResult) -> Any:
    trackeval = pytest.importorskip("trackeval")
    (folder / "gt").mkdir()
    (folder / "trackers" / "ours" / "data").mkdir(parents=True)
    mots.write_text_file(folder / "gt" / "0000.txt", result)
    mots.write_text_file(folder / "trackers" / "ours" / "data" / "0000.txt", result)
    with quiet():
        return trackeval.datasets.KittiMOTS(
            {
                "GT_FOLDER": str(folder / "gt"),
                "GT_LOC_FORMAT": "{gt_folder}/{seq}.txt",
                "TRACKERS_FOLDER": str(folder / "trackers"),
                "SEQ_INFO": {"0000": len(result.frames)},
                "PRINT_CONFIG": False,
            }
        )


def test_trackeval_reads_our_mots_text(flat: VideoResult, tmp_path: Path) -> None:
    dataset = trackeval_kitti_mots(tmp_path, flat)
    with quiet():
        raw = dataset.get_raw_seq_data("ours", "0000")
    assert [ids.tolist() for ids in raw["tracker_ids"]] == [[1001], [1001, 2002], [2002], [1001]]
    assert [kinds.tolist() for kinds in raw["tracker_classes"]] == [[1], [1, 2], [2], [1]]
    for scores in raw["similarity_scores"]:
        np.testing.assert_allclose(np.diag(scores), 1.0)


def test_trackeval_reads_our_mot_text(flat: VideoResult, tmp_path: Path) -> None:
    trackeval = pytest.importorskip("trackeval")
    (tmp_path / "gt" / "clip" / "gt").mkdir(parents=True)
    (tmp_path / "trackers" / "ours" / "data").mkdir(parents=True)
    mot.write(tmp_path / "gt" / "clip" / "gt" / "gt.txt", flat)
    mot.write(tmp_path / "trackers" / "ours" / "data" / "clip.txt", flat)
    with quiet():
        dataset = trackeval.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(tmp_path / "gt"),
                "TRACKERS_FOLDER": str(tmp_path / "trackers"),
                "SEQ_INFO": {"clip": 4},
                "SKIP_SPLIT_FOL": True,
                "DO_PREPROC": False,
                "BENCHMARK": "MOT15",
                "PRINT_CONFIG": False,
            }
        )
        raw = dataset._load_raw_file("ours", "clip", is_gt=False)
    assert [ids.tolist() for ids in raw["tracker_ids"]] == [[1], [1, 2], [2], [1]]
    x0, y0, x1, y1 = flat.tubes[0].boxes[0].tolist()
    np.testing.assert_array_equal(raw["tracker_dets"][0][0], [x0, y0, x1 - x0, y1 - y0])


def test_trackeval_reads_our_davis_images(flat: VideoResult, tmp_path: Path) -> None:
    trackeval = pytest.importorskip("trackeval")
    davis.write(tmp_path / "gt" / "clip", flat)
    davis.write(tmp_path / "trackers" / "ours" / "data" / "clip", flat)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "val.txt").write_text("clip\n")
    with quiet():
        dataset = trackeval.datasets.DAVIS(
            {
                "GT_FOLDER": str(tmp_path / "gt"),
                "TRACKERS_FOLDER": str(tmp_path / "trackers"),
                "SEQMAP_FILE": str(tmp_path / "sets" / "val.txt"),
                "PRINT_CONFIG": False,
            }
        )
        raw = dataset.get_raw_seq_data("ours", "clip")
    assert raw["num_timesteps"] == 4
    np.testing.assert_allclose(np.diag(raw["similarity_scores"][1]), 1.0)


def test_trackeval_reads_our_ytvis_files(flat: VideoResult, tmp_path: Path) -> None:
    trackeval = pytest.importorskip("trackeval")
    truth, found = (
        tmp_path / "gt" / "youtube_vis_val",
        tmp_path / "trackers" / "youtube_vis_val" / "ours" / "data",
    )
    truth.mkdir(parents=True)
    found.mkdir(parents=True)
    ytvis_set.write_truth(truth / "truth.json", [flat])
    ytvis_set.write_results(found / "results.json", [flat])
    # TrackEval takes the truth's run lengths uncompressed only, as the official files have them.
    content = json.loads((truth / "truth.json").read_text())
    for annotation in content["annotations"]:
        for mask in filter(None, annotation["segmentations"]):
            mask["counts"] = masks.runs(masks.from_coco(mask)).tolist()
    (truth / "truth.json").write_text(json.dumps(content))
    with quiet():
        dataset = trackeval.datasets.YouTubeVIS(
            {
                "GT_FOLDER": f"{tmp_path / 'gt'}/",
                "TRACKERS_FOLDER": f"{tmp_path / 'trackers'}/",
                "SPLIT_TO_EVAL": "val",
                "PRINT_CONFIG": False,
            }
        )
        raw = dataset.get_raw_seq_data("ours", dataset.seq_list[0])
    assert [ids.tolist() for ids in raw["tracker_ids"]] == [[0], [0, 1], [1], [0]]
    for scores in raw["similarity_scores"]:
        np.testing.assert_allclose(np.diag(scores), 1.0)


def test_motmetrics_reads_our_mot_text_and_we_read_its_sample(flat: VideoResult, tmp_path: Path) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    mot.write(tmp_path / "m.txt", flat)
    table = motmetrics.io.loadtxt(str(tmp_path / "m.txt"), fmt="mot15-2D")
    assert sorted(table.index.tolist()) == [(1, 1), (2, 1), (2, 2), (3, 2), (4, 1)]
    sample = Path(motmetrics.__file__).parent / "data" / "TUD-Campus" / "gt.txt"
    ours = mot.read(sample, size=(480, 640))
    theirs = motmetrics.io.loadtxt(str(sample), fmt="mot15-2D")
    assert sum(map(len, ours.tubes)) == len(theirs)
    for tube in ours.tubes:
        rows = theirs.xs(tube.id, level="Id")
        # motmetrics moves the corner by one, as the first MOTChallenge data counts pixels from 1.
        np.testing.assert_allclose(tube.boxes[:, 0], rows["X"] + 1, rtol=1e-6)
        np.testing.assert_allclose(tube.boxes[:, 3] - tube.boxes[:, 1], rows["Height"], rtol=1e-5)


def test_datumaro_reads_our_cvat_zip(flat: VideoResult, tmp_path: Path) -> None:
    """CVAT imports "MOTS PNG" through datumaro."""
    datumaro = pytest.importorskip(
        "datumaro", reason="datumaro is heavy; install it to check CVAT's own reader"
    )
    cvat.write(tmp_path / "c.zip", flat)
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        archive.extractall(tmp_path / "c")
    data = datumaro.Dataset.import_from(str(tmp_path / "c"), "mots")
    found = {item.id: sorted((a.label, a.attributes["track_id"]) for a in item.annotations) for item in data}
    assert found["frame_000001"] == [(0, 1), (1, 2)]


def test_our_png_files_are_what_their_formats_ask(flat: VideoResult, tmp_path: Path) -> None:
    davis.write(tmp_path / "d", flat)
    picture = Image.open(tmp_path / "d" / "00001.png")
    assert picture.mode == "P"
    assert picture.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # DAVIS' first colours
    mots.write_png(tmp_path / "m", flat)
    values = np.asarray(Image.open(tmp_path / "m" / "000001.png"))
    assert values.dtype == np.uint16
    assert set(np.unique(values).tolist()) == {0, 1001, 2002}


@pytest.mark.shared_data
def test_davis_2016_clips_are_one_object(shared_data: Path) -> None:
    folder = shared_data / "davis16" / "Annotations" / "480p" / "libby"
    result = davis.read(folder)
    assert len(result.tubes) == 1
    assert result.video.size == (480, 854)
    tube = result.tubes[0]
    assert tube.masks is not None
    for row in (0, len(tube) // 2):
        dense = np.asarray(Image.open(folder / f"{int(tube.frames[row]):05d}.png")) > 0
        np.testing.assert_array_equal(masks.decode(tube.masks[row]), dense)


@pytest.mark.shared_data
def test_a_published_ytvis_truth_is_read(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "golden" / "toy_saco_veval_sav_test_gt.json"
    content = json.loads(path.read_text())
    pairs = ytvis_set.read_truth(path)
    wanted = sum(
        sum(s is not None for s in a["segmentations"]) for a in content["annotations"] if not a.get("iscrowd")
    )
    assert sum(len(tube) for result in pairs for tube in result.tubes) == wanted
    first = content["annotations"][0]
    tube = next(t for t in pairs[0].tubes if t.id == first["id"])
    areas = [a for a in first["areas"] if a]
    assert [masks.area(m) for m in tube.masks or () if masks.area(m)] == pytest.approx(areas)

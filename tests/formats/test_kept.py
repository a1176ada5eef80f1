"""Nothing is left out, merged or numbered anew in silence: it is kept, an error, or told."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vis import masks
from vis.errors import AnnotationError, AnnotationWarning
from vis.formats import coco, csv_table, mot, tubes, ytvis_set
from vis.structures import DatasetIds, VideoResult

SIZE = (12, 17)


def mask(run: int = 20, start: int = 100) -> dict[str, Any]:
    return {"size": list(SIZE), "counts": [start, run, SIZE[0] * SIZE[1] - start - run]}


def annotation(number: int, *shapes: Any, video: int = 7, category: int = 3, **more: Any) -> dict[str, Any]:
    return {"id": number, "video_id": video, "category_id": category, "segmentations": [*shapes], **more}


def truth(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Videos 7 and 4 of two frames, categories 8 and 3."""
    videos = [
        {"id": number, "height": 12.0, "width": 17, "file_names": [f"{name}/00005.jpg", f"{name}/00010.jpg"]}
        for number, name in ((7, "seven"), (4, "four"))
    ]
    categories = [{"id": 8, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"videos": videos, "categories": categories, "annotations": [*annotations], **more}


def put(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


# ---------------------------------------------------------------- YouTube-VIS


def test_an_annotation_that_is_nowhere_is_kept_and_a_crowd_is_told(call: Any, tmp_path: Path) -> None:
    source = put(
        tmp_path / "t.json",
        truth(
            annotation(1, mask(), None),
            annotation(2, None, None),
            annotation(3, mask(), None, iscrowd=1),
            annotation(5, mask(), mask(), ignore=1, video=4),
        ),
    )
    said = call(source, tmp_path / "o.json", "--from", "ytvis", "--to", "ytvis")
    assert said["lost"][str(source)] == [
        "1 crowd annotations are left out: a tube is one object",
        "1 annotations are to be ignored by evaluators, which is not kept",
        "video 7: 1 objects have no mask at all: each is kept as one empty mask",
    ]
    written = json.loads((tmp_path / "o.json").read_text())
    areas = [[area for area in entry["areas"] if area is not None] for entry in written["annotations"]]
    assert areas == [[20], [0], [20, 20]]


def test_videos_categories_and_images_of_a_set_keep_ids_and_names(call: Any, tmp_path: Path) -> None:
    """Through YouTube-VIS, COCO and tubes.json, and back."""
    given = truth(annotation(1, mask(), None), annotation(2, mask(), mask(), video=4, category=8))
    source = put(tmp_path / "t.json", given)
    call(source, tmp_path / "c.json", "--from", "ytvis", "--to", "coco")
    call(tmp_path / "c.json", tmp_path / "t", "--from", "coco", "--to", "tubes")
    call(tmp_path / "t" / "seven.json", tmp_path / "t" / "four.json", tmp_path / "o.json", "--to", "ytvis")
    back = json.loads((tmp_path / "o.json").read_text())
    assert [(v["id"], v["file_names"]) for v in back["videos"]] == [
        (v["id"], v["file_names"]) for v in given["videos"]
    ]
    assert {(c["id"], c["name"]) for c in back["categories"]} == {(8, "dog"), (3, "cat")}
    assert [(a["video_id"], a["category_id"]) for a in back["annotations"]] == [(7, 3), (4, 8)]
    content = json.loads((tmp_path / "c.json").read_text())
    assert [image["file_name"] for image in content["images"]][:2] == ["seven/00005.jpg", "seven/00010.jpg"]


def test_results_come_back_through_tubes_entry_by_entry(call: Any, tmp_path: Path) -> None:
    """An empty result counts as a false one, so dropping it moves AP."""
    found = [
        {"video_id": video, "category_id": category, "score": score, "segmentations": shapes}
        for video, category, score, shapes in (
            (4, 8, 0.9, [mask(), None]),
            (7, 3, 0.8, [None, None]),
            (7, 8, 0.7, [mask(), mask()]),
        )
    ]
    source, set_ = put(tmp_path / "r.json", found), put(tmp_path / "t.json", truth())
    call(source, tmp_path / "t", "--from", "ytvis-results", "--truth", set_, "--to", "tubes")
    files = [tmp_path / "t" / f"{name}.json" for name in ("four", "seven")]
    for words in ((), ("--truth", set_)):
        said = call(*files, tmp_path / "o.json", "--to", "ytvis-results", *words)
        assert any(
            "names of videos" in sentence for sentence in said["lost"][str(tmp_path / "o.json")]
        ) != bool(words)
        back = json.loads((tmp_path / "o.json").read_text())
        assert [(e["video_id"], e["category_id"], e["score"]) for e in back] == [
            (4, 8, 0.9),
            (7, 3, 0.8),
            (7, 8, 0.7),
        ]
        assert [[masks.area(masks.from_coco(s)) for s in e["segmentations"] if s] for e in back] == [
            [20],
            [0],
            [20, 20],
        ]


def test_the_truth_that_results_are_written_for_is_used(call: Any, busy: VideoResult, tmp_path: Path) -> None:
    one = replace(busy, class_names=("dog", "=cat"), video=replace(busy.video, name="clip"))
    tubes.write(tmp_path / "t.json", one)
    videos = [{"id": 31, "height": 12, "width": 17, "file_names": [f"clip/{n}.jpg" for n in range(6)]}]
    categories = [{"id": 5, "name": "dog"}]
    set_ = put(tmp_path / "valid.json", {"videos": videos, "categories": categories})
    words = (tmp_path / "t.json", tmp_path / "o.json", "--to", "ytvis-results", "--truth", set_)
    said = call(*words)
    (entry,) = json.loads((tmp_path / "o.json").read_text())
    assert (entry["video_id"], entry["category_id"]) == (31, 5)
    assert (
        "1 tubes of classes that the truth does not list are left out: =cat"
        in said["lost"][str(tmp_path / "o.json")]
    )
    videos[0]["file_names"].pop()
    put(set_, {"videos": videos, "categories": categories})
    with pytest.raises(AnnotationError, match="video 'clip' has 5 frames, the result 6"):
        call(*words)
    put(set_, {"videos": [], "categories": categories})
    with pytest.raises(AnnotationError, match="lists no video called 'clip'; its videos are none"):
        call(*words)


def test_two_folders_of_one_name_in_a_set_are_two_names(tmp_path: Path) -> None:
    value = truth()
    for row, folder in zip(value["videos"], ("a/clip", "b/clip"), strict=True):
        row["file_names"] = [f"{folder}/{n}.jpg" for n in range(2)]
    results = ytvis_set.read_truth(put(tmp_path / "t.json", value))
    assert [result.video.name for result in results] == ["a/clip", "b/clip"]
    ytvis_set.write_truth(tmp_path / "o.json", results)
    back = json.loads((tmp_path / "o.json").read_text())
    assert [video["file_names"] for video in back["videos"]] == [row["file_names"] for row in value["videos"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"].append(d["annotations"][0]), r"annotation 1: id 1 is given twice"),
        (lambda d: d["annotations"].append(annotation(1, None, mask(), video=4)), "id 1 is given twice"),
        (
            lambda d: d["categories"].append({"id": 3, "name": "x"}),
            "categories: entry 2: id 3 is there twice",
        ),
        (lambda d: d["annotations"][0].update(category_id=[3]), r"as category_id, got \[3\]"),
        (lambda d: d["annotations"][0].update(iscrowd="yes"), "0 or 1 as iscrowd, got 'yes'"),
        (
            lambda d: d["annotations"][0].update(segmentations=None, bboxes=[]),
            "it has boxes, the format holds masks",
        ),
        (lambda d: d["videos"][0].update(file_names=[1.5]), "text as file_names, got 1.5"),
        (
            lambda d: d["videos"][0].pop("file_names") and d.update(images=[]),
            "COCO for video and not YouTube-VIS",
        ),
    ],
)
def test_what_a_set_must_not_say(change: Any, message: str, tmp_path: Path) -> None:
    value = truth(annotation(1, mask(), None))
    change(value)
    with pytest.raises(AnnotationError, match=message):
        ytvis_set.read_truth(put(tmp_path / "t.json", value))


# ---------------------------------------------------------------- COCO


def coco_value(**more: Any) -> dict[str, Any]:
    image = {"id": 1, "video_id": 1, "file_name": "x/IMG_9.png", "frame_id": 4.0}
    row = {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "instance_id": 0,
        "bbox": [1, 2, 3, 4],
        "segmentation": [],
    }
    return {
        "videos": [{"id": 1, "name": "x", "height": 12, "width": 17}],
        "images": [image, {**image, "id": 2, "frame_id": 5, "file_name": "x/IMG_10.png"}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [row, {**row, "id": 2, "image_id": 2}],
        **more,
    }


def test_coco_of_others_is_read_right_and_what_is_not_kept_is_told(tmp_path: Path) -> None:
    value = coco_value()
    value["annotations"].append({**value["annotations"][0], "id": 3, "instance_id": 2, "iscrowd": 1})
    value["tracks"] = [{"id": 0}, {"id": 8}]
    value["annotations"][0]["id"] = 10
    with pytest.warns(AnnotationWarning) as told:
        (result,) = coco.read(put(tmp_path / "c.json", value))
    said = " ".join(str(warning.message) for warning in told)
    for part in (
        "ids count from 0: each is one more here",
        "1 crowd annotations",
        "1 tracks without annotations",
        "ids of images and annotations are not kept",
    ):
        assert part in said
    (tube,) = result.tubes
    assert (tube.id, tube.frames.tolist(), tube.masks) == (1, [4, 5], None)
    assert tube.boxes.tolist() == [[1, 2, 4, 6]] * 2
    assert result.video.file_names == ("", "", "", "", "x/IMG_9.png", "x/IMG_10.png")
    assert result.dataset == DatasetIds(1, {"cat": 2})


def _two_tracks(value: dict[str, Any]) -> None:
    value["tracks"] = [{"id": 0, "tube_id": 6}, {"id": 6}]
    value["annotations"][1]["instance_id"] = 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(image_id=[1]), r"annotation 1: .*image_id, got \[1\]"),
        (lambda d: d["images"][0].update(video_id=None), "image 1: .*video_id, got null"),
        (lambda d: d["images"][0].update(video_id=5), r"images name videos \[5\]"),
        (lambda d: d["annotations"][0].update(video_id=2), "its video_id is not that of its image"),
        (lambda d: d["images"][1].update(frame_id=4), "image 2: is frame 4 of its video, as image 1 is"),
        (lambda d: d["images"][1].update(height=5, width=5), "image 2: is 5x5, its video 12x17"),
        (lambda d: d["images"][1].update(frame_id=2**31), "frame_id from 0 up to 2147483647"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 4]), "negative width"),
        (lambda d: d["annotations"][0].update(score=10**400), "finite number as score"),
        (lambda d: d["annotations"][0].pop("instance_id"), "neither track_id nor instance_id"),
        (lambda d: d["videos"][0].update(fps=1e-320), "finite number as fps"),
        (_two_tracks, "have one tube_id, 6"),
    ],
)
def test_what_coco_must_not_say(change: Any, message: str, tmp_path: Path) -> None:
    value = coco_value()
    change(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnnotationWarning)
        with pytest.raises(AnnotationError, match=message):
            coco.read(put(tmp_path / "c.json", value))


# ---------------------------------------------------------------- text of others


MOT = {
    "from 1": "1,1,10,20,30,40,0.5,-1,-1,-1\n2,1,11,20,30,40,0.5,-1,-1,-1\n",
    "byte order mark": "\ufeff1,1,10,20,30,40,0.5\n2,1,11,20,30,40,0.5\n",
    "frames from 0": "0,1,10,20,30,40,0.5,-1,-1,-1\n1,1,11,20,30,40,0.5,-1,-1,-1\n",
    "ids from 0": "1,0,10,20,30,40,0.5,-1,-1,-1\n2,0,11,20,30,40,0.5,-1,-1,-1\n",
    "floats": "1.0,1.0,10.0,20.0,30.0,40.0,0.5,-1.0,-1.0,-1.0\n2e0,1.00,11,20,30,40,5e-1,-1,-1,-1\n",
    "spaces": "1 1 10 20 30 40 0.5 -1 -1 -1\n2   1 11 20 30 40 0.5 -1 -1 -1\n",
    "spaces and commas": "1, 1, 10, 20, 30, 40, 0.5\n2 , 1, 11, 20, 30, 40, 0.5\n",
    "tabs": "1\t1\t10\t20\t30\t40\t0.5\n2\t1\t11\t20\t30\t40\t0.5\n",
    "semicolons": "1;1;10;20;30;40;0.5\n2;1;11;20;30;40;0.5\n",
    "line ends": "1,1,10,20,30,40,0.5,\r\n\r\n2,1,11,20,30,40,0.5,\r",
}


@pytest.mark.parametrize("name", MOT)
@pytest.mark.filterwarnings("ignore::vis.errors.AnnotationWarning")
def test_mot_text_of_others_reads_to_the_same_boxes(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(MOT[name].encode())
    result = mot.read(tmp_path / "m.txt", size=SIZE)
    (tube,) = result.tubes
    assert (tube.id, tube.frames.tolist(), len(result.frames)) == (1, [0, 1], 2)
    assert tube.boxes.tolist() == [[10, 20, 40, 60], [11, 20, 41, 60]]
    assert tube.scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MOT["frames from 0"], "frames are taken to count from 0"),
        (MOT["ids from 0"], "ids count from 0: each is one more here"),
        ("1,1,1,2,3,4,7.5\n2,1,1,2,3,4,-1\n", "1 confidences outside of 0 to 1 are read as 1"),
        (
            "1,1,1,2,3,4,1,3,0.8\n2,1,1,2,3,4,1,-1,-1\n",
            r"columns after the confidence .* of 1 lines are left out",
        ),
    ],
)
def test_what_mot_text_says_otherwise_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(text)
    with pytest.warns(AnnotationWarning, match=said):
        mot.read(tmp_path / "m.txt", size=SIZE)


def test_frames_that_count_from_0_may_be_said_where_frame_0_is_empty(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("3,1,1,2,3,4,1\n")
    assert [mot.read(tmp_path / "m.txt", size=SIZE, first_frame=n).tubes[0].frames[0] for n in (0, 1, 3)] == [
        3,
        2,
        0,
    ]


def rewritten(change: str, text: str) -> bytes:
    lines = [line.split(",") for line in text.splitlines()]
    if change == "byte order mark":
        return text.encode("utf-8-sig")
    if change in (";", "\t"):
        return "".join(f"{change.join(line)}\n" for line in lines).encode()
    column = {"ids from 0": 3, "float ids": 3, "float frames": 1}[change]
    for line in lines[1:]:
        line[column] = str(int(line[column]) - 3) if change == "ids from 0" else f"{line[column]}.0"
    return "".join(f"{','.join(line)}\r\n" for line in lines).encode()


@pytest.mark.parametrize("change", ["byte order mark", ";", "\t", "ids from 0", "float ids", "float frames"])
@pytest.mark.filterwarnings("ignore::vis.errors.AnnotationWarning")
def test_tables_of_other_programs_read_alike(change: str, busy: VideoResult, tmp_path: Path) -> None:
    csv_table.write(tmp_path / "t.csv", busy)
    want = csv_table.read(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(rewritten(change, (tmp_path / "t.csv").read_text()))
    got = csv_table.read(tmp_path / "t.csv")
    ids = [1, 5] if change == "ids from 0" else [3, 7]
    assert [tube.id for tube in got.tubes] == ids
    for mine, theirs in zip(got.tubes, want.tubes, strict=True):
        assert (mine.frames.tolist(), mine.masks, mine.label) == (
            theirs.frames.tolist(),
            theirs.masks,
            theirs.label,
        )
        assert (mine.boxes == theirs.boxes).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows[2].__setitem__(0, "other"),
            "line 3: is of video 'other'.*a table holds one video",
        ),
        (lambda rows: rows[2].__setitem__(12, "99"), "line 3: is of video .*99x17"),
        (
            lambda rows: rows[3].__setitem__(5, "0.1"),
            "line 4: tube_score of tube 3 is 0.1, and 0.75 in a row above",
        ),
        (lambda rows: rows[5].__setitem__(2, "9"), "line 6: pts_seconds of frame 2 is 9"),
        (lambda rows: rows[2].__setitem__(9, "-5"), "line 3: .*negative width"),
        (lambda rows: rows[2].__setitem__(3, "1.5"), "line 3: expected a whole number, got '1.5'"),
        (lambda rows: rows[2].append("1"), "line 3: expected 15 cells, got 16"),
        (lambda rows: rows[0].__setitem__(11, "frame"), "the column 'area' is missing"),
        (
            lambda rows: rows[0].append("x0") or [row.append("1") for row in rows[1:]],
            "the column 'x0' is there twice",
        ),
    ],
)
def test_what_a_table_must_not_say(change: Any, message: str, busy: VideoResult, tmp_path: Path) -> None:
    csv_table.write(tmp_path / "t.csv", busy)
    rows = [line.split(",") for line in (tmp_path / "t.csv").read_text().splitlines()]
    change(rows)
    (tmp_path / "t.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    with pytest.raises(AnnotationError, match=message):
        csv_table.read(tmp_path / "t.csv")


def test_columns_that_a_table_has_too_many_are_told(busy: VideoResult, tmp_path: Path) -> None:
    csv_table.write(tmp_path / "t.csv", busy)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    rows = [f"{line},{'note' if place == 0 else 'x'}\n" for place, line in enumerate(lines)]
    (tmp_path / "t.csv").write_text("".join(rows))
    with pytest.warns(AnnotationWarning, match="columns that this format does not have are left out: note"):
        assert len(csv_table.read(tmp_path / "t.csv").tubes) == 2


def test_videos_that_no_result_speaks_of_are_told_both_ways(call: Any, tmp_path: Path) -> None:
    path = put(tmp_path / "truth.json", truth(annotation(1, mask(), mask())))
    row = {"video_id": 7, "category_id": 3, "score": 0.5, "segmentations": [mask(), mask()]}
    results = put(tmp_path / "results.json", [row])
    said = call(results, tmp_path / "each", "--from", "ytvis-results", "--to", "tubes", "--truth", path)
    (told,) = said["lost"][str(results)]
    assert said["videos"] == 2  # the empty one too
    assert told.startswith("says nothing of 1 of the truth's 2 videos (four)")
    files = sorted((tmp_path / "each").iterdir())
    # Called otherwise meanwhile, it is known by the set's id.
    renamed = next(found for found in map(tubes.read, files) if found.tubes)
    tubes.write(tmp_path / "r.json", replace(renamed, video=replace(renamed.video, name="other name")))
    words = ["--to", "ytvis-results", "--truth", path]
    back, both = tmp_path / "back.json", tmp_path / "both.json"
    lost = call(tmp_path / "r.json", back, *words)["lost"]
    assert json.loads(back.read_text())[0]["video_id"] == 7
    assert "no result is of 1 of the truth's 2 videos" in str(lost)
    assert "no result is of" not in str(call(*files, both, *words)["lost"])

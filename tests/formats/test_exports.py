"""Names, ids, options and our own result: what an export says of its videos, and what it must not say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vis.errors import AnnotationError, AnnotationWarning, InputError, OutputError, UsageError
from vis.formats import coco, csv_table, cvat, davis, per_object, sav, tubes, ytvis_set
from vis.formats.naming import told_apart, unique_names
from vis.formats.registry import FORMATS
from vis.structures import DatasetIds, VideoResult

SIZE = (12, 17)


def put(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


# ---------------------------------------------------------------- names


def test_clips_of_one_name_have_names_of_their_own_whatever_their_order(
    call: Any, busy: VideoResult, tmp_path: Path
) -> None:
    runs = [tmp_path / "out" / day / "clip" for day in ("day1", "day2")]
    for run in runs:
        tubes.write(run / "tubes.json", busy)
    for order in (runs, runs[::-1]):
        said = call(*order, tmp_path / "c.json", "--to", "coco")
        want = [f"{run.parent.name}/clip" for run in order]
        assert [row["name"] for row in said["names"]] == want
        assert [row["input"] for row in said["names"]] == [str(run) for run in order]
        content = json.loads((tmp_path / "c.json").read_text())
        assert [video["name"] for video in content["videos"]] == want
        files = [image["file_name"] for image in content["images"]]
        assert len(set(files)) == len(files) == 12
        call(*order, tmp_path / "y.json", "--to", "ytvis")
        content = json.loads((tmp_path / "y.json").read_text())
        assert [video["file_names"][0] for video in content["videos"]] == [
            f"{name}/00000.jpg" for name in want
        ]
    # The same input twice, and files with a name of their own.
    said = call(runs[0], runs[0], tmp_path / "c.json", "--to", "coco")
    assert [row["name"] for row in said["names"]] == ["clip-2"]


def test_images_keep_their_names_until_two_videos_share_them(busy: VideoResult, tmp_path: Path) -> None:
    files = tuple(f"f/IMG_{n + 1}.png" for n in range(6))
    one = replace(busy, video=replace(busy.video, name="f", file_names=files))
    for write, list_ in ((coco.write, "images"), (ytvis_set.write_truth, "videos")):
        write(tmp_path / "one.json", [one])
        content = json.loads((tmp_path / "one.json").read_text())[list_]
        assert (
            content[0]["file_names"] if list_ == "videos" else [row["file_name"] for row in content]
        ) == list(files)
    assert coco.write(tmp_path / "two.json", [one, one]) == []
    names = [row["file_name"] for row in json.loads((tmp_path / "two.json").read_text())["images"]]
    assert (names[0], names[6], len(set(names))) == ("f/IMG_1.png", "f-2/IMG_1.png", 12)
    first, second = coco.read(tmp_path / "two.json")
    assert (first.video.name, first.video.file_names) == ("f", files)
    assert (second.video.name, second.video.file_names[0]) == ("f-2", "f-2/IMG_1.png")
    assert "file names of the images are lost" in csv_table.write(tmp_path / "t.csv", one)


def test_a_folder_of_images_tells_their_names(busy: VideoResult, tmp_path: Path) -> None:
    from PIL import Image

    from vis.video import open_source

    (tmp_path / "f").mkdir()
    for n in (10, 9, 1):
        Image.new("RGB", (17, 12)).save(tmp_path / "f" / f"IMG_{n}.png")
    info = open_source(tmp_path / "f").info
    assert info.file_names == ("f/IMG_1.png", "f/IMG_9.png", "f/IMG_10.png")
    tubes.write(tmp_path / "t.json", replace(busy, video=replace(info, num_frames=6)))
    assert tubes.read(tmp_path / "t.json").video.file_names == info.file_names


def test_invented_names_never_leave_their_folder(busy: VideoResult, tmp_path: Path) -> None:
    for name, folder in (("../up", "up"), ("/etc", "etc"), ("..", "video"), ("a/../b", "a/b")):
        coco.write(tmp_path / "c.json", [replace(busy, video=replace(busy.video, name=name))])
        first = json.loads((tmp_path / "c.json").read_text())["images"][0]["file_name"]
        assert first == f"{folder}/00000.jpg"


def test_names_are_told_apart_by_as_much_of_the_path_as_it_takes() -> None:
    places = [("out", "a", "x", "clip"), ("out", "b", "x", "clip"), ("y", "clip"), ("y", "CLIP"), ("other",)]
    assert told_apart(places) == ["a/x/clip", "b/x/clip", "y/clip", "y/CLIP-2", "other"]
    assert unique_names(["a", "a-2", "A", "a"]) == ["a", "a-2", "A-3", "a-4"]


def test_names_that_are_too_long_for_the_file_system_are_cut(
    call: Any, busy: VideoResult, tmp_path: Path
) -> None:
    for number, name in enumerate(("é" * 300, "é" * 301)):
        tubes.write(tmp_path / f"{number}.json", replace(busy, video=replace(busy.video, name=name)))
    said = call(tmp_path / "0.json", tmp_path / "1.json", tmp_path / "out", "--to", "mot")
    assert len(list((tmp_path / "out").iterdir())) == len(said["names"]) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_are_no_utf8_pass_through_every_format(
    name: str, busy: VideoResult, tmp_path: Path
) -> None:
    strange = replace(
        busy,
        video=replace(busy.video, name="clip\udcff", file_names=tuple(f"\udce9/{n}.png" for n in range(6))),
        class_names=("dog\udcff", "cat"),
    )
    said = FORMATS[name].write(tmp_path / "f", [strange])
    if name in ("tubes", "coco"):
        (back,) = FORMATS[name].read(tmp_path / "f")
        assert (back.video.name, back.class_names) == (strange.video.name, strange.class_names)
        assert back.video.file_names == strange.video.file_names
    if name == "ytvis":
        (back,) = FORMATS[name].read(tmp_path / "f")
        assert (back.class_names, back.video.file_names) == (strange.class_names, strange.video.file_names)
    if name in ("csv", "cvat"):
        assert any("no UTF-8" in sentence for sentence in said)


# ---------------------------------------------------------------- ids and sizes


@pytest.mark.parametrize("name", FORMATS)
def test_no_table_is_as_long_as_the_largest_id(name: str, make_result: Any, tmp_path: Path) -> None:
    dot = np.zeros((1, *SIZE), np.bool_)
    dot[0, 2, 3] = True
    result = make_result([(2**53 - 1, [0], dot)], 1)
    said = FORMATS[name].write(tmp_path / "f", [result])
    options = {"size": SIZE} if name == "mot" else {}
    if name == "ytvis-results":
        FORMATS["ytvis"].write(tmp_path / "truth", [result])
        options = {"truth": tmp_path / "truth"}
    (back,) = FORMATS[name].read(tmp_path / "f", **options)
    assert back.tubes[0].id == 2**53 - 1 or any("ids" in sentence for sentence in said)


def test_objects_that_are_nowhere_are_kept_by_sav_and_png(make_result: Any, tmp_path: Path) -> None:
    blank = np.zeros((2, *SIZE), np.bool_)
    dot = blank.copy()
    dot[:, 2, 3] = True
    result = make_result([(1, [0, 1], dot), (2, [0, 1], blank)], 2)
    for write, read, place in (
        (sav.write_json_file, sav.read_json_file, "s.json"),
        (per_object.write, per_object.read, "p"),
        (sav.write_png, sav.read_png, "q"),
    ):
        said = write(tmp_path / place, result)
        assert not any("tubes" in sentence for sentence in said)
        with pytest.warns(AnnotationWarning, match="1 objects have no mask at all"):
            assert [len(tube) for tube in read(tmp_path / place).tubes] == [2, 1]
    assert "1 tubes whose masks are all empty are lost" in davis.write(tmp_path / "d", result)
    (tmp_path / "p" / "001").rename(tmp_path / "p" / "2")
    with pytest.raises(AnnotationError, match="the folders 002 and 2 are of one object"):
        per_object.read(tmp_path / "p")


def test_labels_of_cvat_are_told_apart(busy: VideoResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two classes have one name"):
        cvat.write(tmp_path / "c.zip", replace(busy, class_names=("dog", "dog")))
    odd = replace(busy, class_names=("a\u2028b", "\x1cc"))
    cvat.write(tmp_path / "c.zip", odd)
    assert cvat.read(tmp_path / "c.zip").class_names == odd.class_names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["tubes"][0].update(id=1.5), "tubes: entry 0: expected a whole number as id"),
        (lambda d: d["tubes"][0].update(label=[0]), "tube 3: .*as label"),
        (lambda d: d["tubes"][0]["boxes"][1].__setitem__(2, -50), "boxes: row 1: .*negative width"),
        (
            lambda d: d["tubes"][0]["scores"].__setitem__(0, 2),
            "scores: expected a list of finite numbers from 0 to 1",
        ),
        (lambda d: d["tubes"][0]["frames"].__setitem__(0, 2**40), "frames: expected a list of whole numbers"),
        (lambda d: d["tubes"][0].update(masks="abc"), "a list as masks"),
        (lambda d: d["video"].update(fps=0), "as fps"),
        (lambda d: d["video"].update(name=["x"]), "text as name"),
        (lambda d: d["video"].update(height=10**6), "size: expected"),
        (lambda d: d["video"].update(speed=1), "unknown field 'speed'"),
        (lambda d: d.update(class_names="ab"), "a list as class_names"),
        (lambda d: d.update(pts_seconds=[10**400] * 6), "pts_seconds: expected a list of finite numbers"),
        (lambda d: d.update(made_with=[]), "an object as made_with"),
        (lambda d: d.update(dataset={"video_id": 1, "category_ids": {"a": "b"}}), "as a, got 'b'"),
        (lambda d: d["tubes"].append(d["tubes"][0]), "must be sorted by unique id"),
    ],
)
def test_what_our_own_result_must_not_say(
    change: Any, message: str, busy: VideoResult, tmp_path: Path
) -> None:
    value = tubes.to_json(busy)
    change(value)
    with pytest.raises(AnnotationError, match=rf"t\.json: .*{message}"):
        tubes.read(put(tmp_path / "t.json", value))


def test_a_result_without_set_and_images_is_written_as_before(busy: VideoResult, tmp_path: Path) -> None:
    """Edits go by the sha256 of a result: what older programs wrote must stay the same to the byte."""
    assert not {"dataset", "file_names"} & set(tubes.to_json(busy))
    assert "file_names" not in tubes.to_json(busy)["video"]
    named = replace(
        busy,
        video=replace(busy.video, file_names=("f/a.png", "f/b.png")),
        dataset=DatasetIds(7, {"dog": 3}),
    )
    tubes.write(tmp_path / "t.json", named)
    back = tubes.read(tmp_path / "t.json")
    assert (back.video.file_names, back.dataset) == (named.video.file_names, named.dataset)


# ---------------------------------------------------------------- options


def test_options_that_neither_format_takes_are_told(call: Any, busy: VideoResult, tmp_path: Path) -> None:
    tubes.write(tmp_path / "t.json", busy)
    words = ("--fps", 25, "--truth", tmp_path / "none.json", "--first-frame", 1, "--classes", "3=dog")
    said = call(tmp_path / "t.json", tmp_path / "m.txt", "--to", "mots", *words)
    told = said["lost"]["options"]
    assert [sentence.split()[0] for sentence in told] == ["--truth", "--fps", "--classes"]
    # --first-frame is one that writing takes.
    assert re.match("1 ", (tmp_path / "m.txt").read_text())
    said = call(
        tmp_path / "m.txt", tmp_path / "b.json", "--from", "mots", "--to", "tubes", "--first-frame", 1
    )
    assert "options" not in said["lost"]
    assert tubes.read(tmp_path / "b.json").frames[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--size", "9" * 5000 + "x5"),
        ("--size", "²x5"),
        ("--classes", "²=dog"),
        ("--classes", "3=dog,3=cat"),
        ("--classes", "9" * 5000 + "=dog"),
        ("--fps", "nan"),
        ("--fps", "1e-320"),
        ("--first-frame", "-1"),
        ("--first-frame", "9" * 30),
    ],
)
def test_options_that_are_no_numbers_are_refused(
    words: tuple[str, str], call: Any, busy: VideoResult, tmp_path: Path
) -> None:
    tubes.write(tmp_path / "t.json", busy)
    with pytest.raises(UsageError, match=words[0]) as caught:
        call(tmp_path / "t.json", tmp_path / "o.json", "--to", "coco", *words)
    assert len(str(caught.value)) < 200


def test_inputs_and_outputs_with_names_too_long_are_errors(
    call: Any, busy: VideoResult, tmp_path: Path
) -> None:
    tubes.write(tmp_path / "t.json", busy)
    with pytest.raises(InputError, match="cannot be read"):
        call(tmp_path / ("x" * 300), tmp_path / "o.json", "--to", "coco")
    for name in ("coco", "davis"):
        with pytest.raises(OutputError, match="cannot be written"):
            call(tmp_path / "t.json", tmp_path / ("x" * 300), "--to", name)
    put(tmp_path / "none.json", {"videos": [], "categories": [], "annotations": []})
    with pytest.raises(InputError, match="no video in it"):
        call(tmp_path / "none.json", tmp_path / "o.json", "--from", "ytvis", "--to", "coco")

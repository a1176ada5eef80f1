"""Broken and hostile files end in AnnotationError, whose message names the file; never in anything else."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vis.errors import AnnotationError
from vis.formats import csv_table, cvat, davis, mot, mots, per_object, ytvis_set
from vis.formats.images import png_bytes
from vis.formats.zips import open_zip, read_member
from vis.structures import VideoResult

LINES = [
    (mots.read_text, "0 1001 1 12 17\n", "line 1: expected 6 values"),
    (mots.read_text, "0 1001 1 12 x 1\n", "line 1: expected a whole number"),
    (mots.read_text, "0 1001 1 12 17 zzz\n", "line 1: counts"),
    (mots.read_text, "0 1001 1 12 17 \u00e9\n", "line 1: counts"),
    (mots.read_text, "0 1001 1 100000 100000 0\n", "line 1: size"),
    (mots.read_text, "", "holds no object"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1,0,0,5,nan,1\n", "expected a finite number"),
    (lambda p: mot.read(p, size=(12, 17)), "1,-1,0,0,5,5,1\n", "ids must be 1 or more"),
    (lambda p: mot.read(p, size=(12, 17)), "-1,1,0,0,5,5,1\n", "line 1: frame -1: frames must lie"),
    (lambda p: mot.read(p, size=(12, 17), first_frame=1), "0,1,0,0,5,5,1\n", "frame 0: frames must lie at 1"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1,0,0,-5,5,1\n", "line 1: .*negative width"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1,0,0,1e9,5,1\n", "line 1: .*pixels away"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1,0,0,5,5,1\n\n2,1.5,0,0,5,5,1\n", "line 3: expected a whole"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1_0,0,0,5,5,1\n", "line 1: expected a whole number"),
    (lambda p: mot.read(p, size=(12, 17)), "1," + "9" * 5000 + ",0,0,5,5,1\n", "line 1: expected a whole"),
    (lambda p: mot.read(p, size=(12, 17)), "1 1 0 0 5\n", "line 1: expected 6 values, got 5"),
    (lambda p: mot.read(p, size=(70_000, 17)), "1,1,0,0,5,5,1\n", "size: expected"),
    (mots.read_text, "0 1001 1 12 17 \u00e9\n", "line 1: counts"),
    (lambda p: mots.read_text(p, first_frame=1), "0 1001 1 12 17 \\6\n", "line 1: frame 0, but frames"),
    (lambda p: mot.read(p, size=(12, 17)), "900000000,1,0,0,5,5,1\n", "frames are refused"),
    (lambda p: mot.read(p, size=(12, 17)), "1,1,0,0,5,5,1\n1,1,0,0,5,5,1\n", "is there twice"),
]


@pytest.mark.parametrize(("read", "text", "message"), LINES)
def test_bad_lines_are_named(read: Callable[[Path], Any], text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_formula_never_reaches_a_spreadsheet(busy: VideoResult, tmp_path: Path) -> None:
    import csv
    from dataclasses import replace

    names = ('=HYPERLINK("http://x")', "'@quoted")
    hostile = replace(busy, class_names=names, video=replace(busy.video, name="+cmd|' /C calc'!A0"))
    csv_table.write(tmp_path / "t.csv", hostile)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    for row in rows[1:]:
        for cell in row:
            number = cell.lstrip("-").replace(".", "", 1).replace("e-", "", 1).isdigit()
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    back = csv_table.read(tmp_path / "t.csv")
    assert back.class_names == names
    assert back.video.name == hostile.video.name


def test_a_png_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 15_000, 10_000, 8, 0, 0, 0, 0)
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "00000.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(AnnotationError, match="pixels, over"):
        davis.read(folder)


def test_images_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "d"
    folder.mkdir()
    with pytest.raises(AnnotationError, match="holds no PNG"):
        davis.read(folder)
    Image.new("RGB", (17, 12)).save(folder / "00000.png")
    with pytest.raises(AnnotationError, match="colour image"):
        davis.read(folder)
    (folder / "00000.png").write_bytes(b"no image")
    with pytest.raises(AnnotationError, match="not a PNG image"):
        davis.read(folder)
    (folder / "00000.png").write_bytes(png_bytes(np.zeros((12, 17), np.int32)))
    (folder / "00001.png").write_bytes(png_bytes(np.zeros((12, 18), np.int32)))
    with pytest.raises(AnnotationError, match="differs from the first"):
        davis.read(folder)
    with pytest.raises(AnnotationError, match="one folder per object"):
        per_object.read(tmp_path)


def test_values_below_a_thousand_are_no_mots_ids(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "000000.png").write_bytes(png_bytes(np.full((12, 17), 7), bits=16))
    with pytest.raises(AnnotationError, match="no MOTS id"):
        mots.read_png(folder)


def test_a_zip_bomb_and_a_broken_zip_are_refused(tmp_path: Path, busy: VideoResult) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("default/instances/labels.txt", b"\0" * 3_000_000)
    with open_zip(bomb) as archive, pytest.raises(AnnotationError, match="unpacks to more than"):
        read_member(archive, "default/instances/labels.txt", "bomb.zip", limit=1_000_000)
    with pytest.raises(AnnotationError, match=r"expected instances/\*\.png"):
        cvat.read(bomb)
    cvat.write(tmp_path / "c.zip", busy)
    whole = (tmp_path / "c.zip").read_bytes()
    (tmp_path / "c.zip").write_bytes(whole[:-30])
    with pytest.raises(AnnotationError, match="not a whole zip"):
        cvat.read(tmp_path / "c.zip")


def test_the_same_zip_has_the_same_bytes(busy: VideoResult, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        cvat.write(tmp_path / name, busy)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


YTVIS = {
    "videos": [{"id": 1, "height": 12, "width": 17, "file_names": ["c/0.jpg", "c/1.jpg"]}],
    "categories": [{"id": 1, "name": "dog"}],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": [None, None]}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("annotations"), "has no annotations"),
        (lambda d: d["annotations"][0].update(video_id=9), "names no video"),
        (lambda d: d["annotations"][0].update(category_id=9), "category_id 9"),
        (lambda d: d["annotations"][0].update(segmentations=[None]), "expected 2 segmentations"),
        (lambda d: d["videos"][0].update(height=0), "expected id, height"),
        (lambda d: d["videos"].append(d["videos"][0]), "is there twice"),
        (lambda d: d.update(categories={}), "list 'categories'"),
        (lambda d: d.update(videos=None), "list 'videos'"),
    ],
)
def test_broken_ytvis_sets_are_named(change: Any, message: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(YTVIS))
    change(data)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(data))
    with pytest.raises(AnnotationError, match=message):
        ytvis_set.read_truth(path)


def test_results_take_the_sets_own_category_ids(busy: VideoResult) -> None:
    entries = ytvis_set.results_of(busy, 7, {"dog": 12})
    assert [(e["video_id"], e["category_id"]) for e in entries] == [(7, 12)]


@pytest.mark.parametrize("value", [None, "3", [1], True, 1.5])
def test_a_tubes_id_is_a_whole_number(tmp_path, make_result, value):
    path = tmp_path / "truth.json"
    dot = np.zeros((2, 12, 17), np.bool_)
    dot[:, 3:6, 4:9] = True
    ytvis_set.write_truth(path, [make_result([(1, [0, 1], dot)], 2)])
    document = json.loads(path.read_text("utf-8"))
    document["annotations"][0]["id"] = value
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(AnnotationError, match="expected a whole number as id"):
        ytvis_set.read_truth(path)


def test_text_that_is_utf16_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("1,1,1,2,3,4,1\n", encoding="utf-16")
    with pytest.raises(AnnotationError, match="it is UTF-16, save it as UTF-8"):
        mot.read(tmp_path / "m.txt", size=(12, 17))

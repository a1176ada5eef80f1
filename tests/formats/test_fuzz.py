"""Thousands of broken files: every reader gives a result that can be written again, or one sentence.

A fast share of them runs always; ``VISTUBES_FUZZ=10000 pytest tests/formats/test_fuzz.py`` runs more per reader.
"""

from __future__ import annotations

import json
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detectors
from apps.batch.inputs import find_items
from vis import edits, masks
from vis.errors import InputError, UsageError
from vis.formats import coco, cvat, sav, tubes, ytvis_set
from vis.formats.images import png_bytes
from vis.formats.registry import FORMATS
from vis.structures import Frame, VideoResult

ROUNDS = int(os.environ.get("VISTUBES_FUZZ", "40"))
SIZE = (12, 17)
# Values of every wrong type, and of the right type at and beyond every limit; @ stands for raw JSON text.
VALUES: tuple[Any, ...] = (
    *(None, True, False, "x", "", "1", "\udcff", "\0", "../up", [1], [], [[]], [None], {}, {"id": 1}),
    *(0, -1, 1, 2, 1.0, 1.5, -0.5, 3e9, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**30, 10**400, 1e308),
    *("@NaN", "@1e999", "@-Infinity", "@" + "9" * 5000, "@" + "[" * 500 + "]" * 500, "x" * 5000),
)
ZOO = "vistubes-raw:"


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a JSON value can be changed: every key and every place, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] + [path for key, item in inner for path in _paths(item, (*here, key))]


def _mutated(value: Any, chance: random.Random) -> bytes:
    """The JSON text with one to three of its values replaced, removed or given twice, or a few bytes changed."""
    if chance.random() < 0.2:
        return _changed_bytes(json.dumps(value).encode(), chance)
    value = json.loads(json.dumps(value))
    raw: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice(_paths(value)[1:] or [()])
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if not path:
            break
        what = chance.random()
        if what < 0.7:
            new = deepcopy(chance.choice(VALUES))
            if isinstance(new, str) and new.startswith("@"):
                raw.append(new[1:])
                new = f"{ZOO}{len(raw) - 1}"
            holder[path[-1]] = new
        elif what < 0.85:
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[path[-1]]))
        else:
            holder[f"{path[-1]}x"] = deepcopy(holder[path[-1]])
    text = json.dumps(value)
    for number, token in enumerate(raw):
        text = text.replace(f'"{ZOO}{number}"', token)
    if chance.random() < 0.05:  # a key twice
        text = text.replace("{", '{"id": 1, ', 1)
    return text.encode() if chance.random() < 0.9 else text.encode()[: chance.randrange(len(text) + 1)]


def _changed_bytes(data: bytes, chance: random.Random) -> bytes:
    """The text with a few places cut, changed, or filled with something that matters."""
    raw = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(raw) + 1)
        words = (
            b"-1",
            b"0",
            b"1.0",
            b"1.5",
            b"1e999",
            b"nan",
            b"\xc2\xb2",
            b"9" * 5000,
            b"99999999999",
            b"\0",
        )
        marks = (b",", b";", b" ", b"\t", b'"', b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"_", b"+", b"")
        kind = chance.random()
        if kind < 0.5:
            raw[at : at + chance.randrange(4)] = chance.choice(words)
        elif kind < 0.9:
            raw[at : at + chance.randrange(2)] = chance.choice(marks)
        else:
            del raw[at:]
    return bytes(raw)


@pytest.fixture(scope="module")
def result(make_result: Any) -> VideoResult:
    stack = np.zeros((3, *SIZE), np.bool_)
    stack[:, 3:6, 4:9] = True
    other = np.zeros((1, *SIZE), np.bool_)
    other[:, 8:10, 1:4] = True
    return make_result([(1, [0, 1, 2], stack), (2, [1], other)], 3, names=("dog", "cat"), labels={2: 1})


def _text(mask: Any) -> dict[str, Any]:
    return {"size": list(SIZE), "counts": masks.to_coco(mask)["counts"]}


def _boxes(result: VideoResult) -> Any:
    row = {"box": [1, 2, 5, 6], "score": 0.5, "label": 1, "id": 1}
    return {"class_names": list(result.class_names), "frames": [[row, {**row, "id": 2}], [], [row]]}


def _entries(result: VideoResult) -> list[dict[str, Any]]:
    return ytvis_set.results_of(result, 1, {"dog": 1, "cat": 2})


def _asked(path: Path) -> None:
    detector = detectors.create("precomputed", weights=path)
    blank = np.zeros((*SIZE, 3), np.uint8)
    for index in range(3):
        detector.detect_frames([Frame(index, float(index), blank)])  # type: ignore[attr-defined]


def _edits_file(_: VideoResult) -> Any:
    rows = [
        edits.Correct(1, 2, ((1.0, 2.0),), (1,)),
        edits.Add(3, 1, "dog", box=(1.0, 1.0, 5.0, 5.0)),
        edits.Brush(1, 0, ((1.0, 1.0), (2.0, 2.0)), 1.5),
        edits.Follow(1, 0, 0, 2),
        edits.Delete(2, 1, None),
        edits.Merge(1, 2),
        edits.Split(1, 1, 5),
        edits.Swap(1, 2, 1),
        edits.Relabel(1, "cat"),
    ]
    return {
        "format": "vis-tubes-edits",
        "format_version": 1,
        "base_sha256": "0" * 64,
        "model": "hq-tiny",
        "edits": [edits.to_json(row) for row in rows],
    }


Make = Callable[[VideoResult], Any]
Read = Callable[[Path], Any]


def _written(write: Callable[[Path, VideoResult], Any], folder: Path) -> Make:
    def make(result: VideoResult) -> Any:
        write(folder / "made.json", result)
        return json.loads((folder / "made.json").read_text())

    return make


@pytest.fixture(scope="module")
def json_readers(
    tmp_path_factory: pytest.TempPathFactory, result: VideoResult
) -> dict[str, tuple[Make, Read]]:
    """Name -> (what makes a good file's value, what reads it)."""
    folder = tmp_path_factory.mktemp("made")
    truth = folder / "truth.json"
    ytvis_set.write_truth(truth, [result])
    images = folder / "JPEGImages" / "clip"
    images.mkdir(parents=True)
    for frame in range(3):
        (images / f"{frame:05d}.jpg").write_bytes(b"")

    def found(path: Path) -> None:
        items, _ = find_items([str(path)], frames=folder / "JPEGImages")
        assert all(item.images for item in items)

    return {
        "tubes": (tubes.to_json, tubes.read),
        "coco": (_written(lambda p, r: coco.write(p, [r]), folder), coco.read),
        "ytvis": (_written(lambda p, r: ytvis_set.write_truth(p, [r]), folder), ytvis_set.read_truth),
        "ytvis-results": (_entries, lambda p: ytvis_set.read_results(p, truth)),
        "results-truth": (
            _written(lambda p, r: ytvis_set.write_truth(p, [r]), folder),
            lambda p: ytvis_set.write_results(p.with_suffix(".out"), [result], truth=p),
        ),
        "sav": (_written(sav.write_json_file, folder), sav.read_json_file),
        "edits": (_edits_file, edits.read),
        "boxes": (_boxes, _asked),
        "precomputed-results": (_entries, _asked),
        "precomputed-truth": (_written(lambda p, r: ytvis_set.write_truth(p, [r]), folder), _asked),
        "precomputed-tubes": (tubes.to_json, _asked),
        "set": (_written(lambda p, r: ytvis_set.write_truth(p, [r]), folder), found),
    }


NAMES = (
    *("tubes", "coco", "ytvis", "ytvis-results", "results-truth", "sav", "edits", "boxes"),
    *("precomputed-results", "precomputed-truth", "precomputed-tubes", "set"),
)


def _check(read: Read, path: Path, seed: object) -> None:
    """A result that can be written and read again, or a sentence that names the file."""
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = read(path)
    except (InputError, UsageError) as error:
        message = str(error)
        assert path.name in message or path.parent.name in message, (seed, message)
        assert len(message) < 500, (seed, message)
    else:
        for one in got if isinstance(got, list) else [got]:
            if isinstance(one, VideoResult):
                again = path.with_name("again.json")
                tubes.write(again, one)
                assert tubes.to_json(tubes.read(again)) == tubes.to_json(one), seed
                coco.write(again, [one])
                ytvis_set.write_truth(again, [one])


@pytest.mark.parametrize("name", NAMES)
def test_json_of_any_kind(name: str, json_readers: Any, result: VideoResult, tmp_path: Path) -> None:
    make, read = json_readers[name]
    good = make(result)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(good))
    read(path)
    for seed in range(ROUNDS):
        path.write_bytes(_mutated(good, random.Random(f"{name}{seed}")))
        _check(read, path, seed)


@pytest.mark.parametrize("name", ["csv", "mot", "mots", "list"])
def test_text_of_any_kind(name: str, result: VideoResult, tmp_path: Path) -> None:
    path = tmp_path / "broken.txt"
    if name == "list":
        (tmp_path / "clip.mp4").write_bytes(b"")
        path.write_text("# clips\nclip.mp4\nclip.mp4\n")
        read: Read = lambda p: find_items([str(p)])  # noqa: E731
    else:
        FORMATS[name].write(path, [result])
        size = {"size": SIZE} if name == "mot" else {}
        read = lambda p: FORMATS[name].read(p, **size)  # noqa: E731
    good = path.read_bytes()
    read(path)
    for seed in range(ROUNDS):
        path.write_bytes(_changed_bytes(good, random.Random(f"{name}{seed}")))
        _check(read, path, seed)


@pytest.mark.parametrize("name", ["davis", "mots-png", "png", "sav-png"])
def test_label_images_of_any_kind(name: str, result: VideoResult, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    FORMATS[name].write(folder, [result])
    files = sorted(folder.rglob("*.png"))
    kept = {file: file.read_bytes() for file in files}
    for seed in range(ROUNDS):
        chance = random.Random(f"{name}{seed}")
        file = chance.choice(files)
        values = np.array(
            [chance.choice((0, 1, 255, 999, 1000, 1001, 10_000, 65_535)) for _ in range(12 * 17)]
        )
        image = png_bytes(values.reshape(SIZE), bits=chance.choice((8, 16)))
        file.write_bytes(chance.choice((image, _changed_bytes(kept[file], chance), b"")))
        _check(FORMATS[name].read, folder, seed)
        file.write_bytes(kept[file])


def test_zips_of_any_kind(result: VideoResult, tmp_path: Path) -> None:
    path = tmp_path / "broken.zip"
    cvat.write(path, result)
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for seed in range(ROUNDS):
        chance = random.Random(seed)
        if chance.random() < 0.5:
            path.write_bytes(_changed_bytes(good, chance))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in members.items():
                    changed = chance.random() < 0.4
                    archive.writestr(name, _changed_bytes(data, chance) if changed else data)
        _check(cvat.read, path, seed)

"""Run by test_malformed.py in a process of its own: mutated truth, results, reports, label images, by the thousand.

Every input must end in a report or in an InputError. What is accepted must give the same numbers
twice; where it does not, memory was read that nobody wrote. Prints one JSON object.
"""

from __future__ import annotations

import copy
import faulthandler
import io
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import reference  # beside this script

from vis.errors import InputError
from vis.evaluation import bootstrap, evaluate_images, evaluate_tubes, html_report, intervals
from vis.evaluation.comparison import compare_reports, comparison_table
from vis.evaluation.davis import evaluate_folders
from vis.evaluation.image_masks import read_mask

SIZE, FRAMES = (8, 10), 3
TEXT = "j04400NMO3300>"  # a block of 4 x 5 pixels with a hole


def rle(*runs: int) -> dict:
    return {"size": list(SIZE), "counts": [*runs, SIZE[0] * SIZE[1] - sum(runs)]}


def base() -> tuple[dict, list]:
    masks = [rle(10, 4, 4, 4), None, {"size": list(SIZE), "counts": TEXT}, [[1, 1, 6, 1, 6, 6, 1, 6]]]
    truth = {
        "videos": [
            {"id": v, "height": 8, "width": 10, "length": FRAMES, "file_names": ["a", "b", "c"]}
            for v in (1, 2)
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {
                "id": i + 1,
                "video_id": 1 + i % 2,
                "category_id": 1 + i // 2,
                "iscrowd": int(i == 3),
                "areas": [8, None, 25],
                "segmentations": [masks[i % 4], masks[(i + 1) % 4], masks[(i + 3) % 4]],
            }
            for i in range(4)
        ],
    }
    truth["annotations"][0]["segmentations_refined"] = [masks[0], masks[3], None]
    results = [
        {
            "video_id": 1 + i % 2,
            "category_id": 1 + i // 2,
            "score": 0.9 - i / 10,
            "segmentations": a["segmentations"],
        }
        for i, a in enumerate(truth["annotations"])
    ]
    return truth, results


NASTY = [
    None, True, False, 0, 1, -1, 2, 3, 80, 81, 2**31, 2**32, 2**63, 2**64, 10**400, -(2**63), 0.5, 1e308, -1e308,
    float("nan"), float("inf"), "", "0", "\x00", "é", "#0", "#1", "o" * 9, "O", "?" * 50, "0" * 300, "j04400NMO3300>",
    [], {}, [None], [[]], [[1, 2, 3]], [[float("nan")] * 6], [[1e9] * 8], [[-1e300, 1e300] * 3], [["1"] * 6],
    [80], [81], [-80, 160], [2**40], [0] * 50 + [80], [10.0, 70.0], [True] * 80, [1, [2]],
    {"size": [8, 10], "counts": [80]}, {"size": [10, 8], "counts": [80]}, {"size": [31623, 31623], "counts": [10**9]},
    {"size": [8, 10]}, {"counts": [80]}, {"size": [10**9, 10**9], "counts": "0"}, {"size": [0, 0], "counts": ""},
    {"size": [8, 10], "counts": [float("inf")]}, {"size": "810", "counts": b"".decode()},
    1.0, 2.5, 1e20, 2**53, 10**5000, [1.0], [10**400], [0, 0, -5, 5], [0, 0, 1e308, 1e308], [0, 0, "5", 5],
    "\ud800", "\x00", "x" * 5000, "../../x", ["a", 7], [["a"]], [2**40] * 3, [[1], [2]], {"a": {"b": [1]}}
]  # fmt: skip


INSERTED = [
    b'"#0"', b"NaN", b"[[[[", b"1e999", b"\\u0023", b"{", b"]", b",,", b"-0", b"\xff", b".0", b".5", b"9" * 5000,
    b"[" * 2000, b"[" * 900 + b"]" * 900, b"-", b'"\\ud800"', b'"id":1,',
]  # fmt: skip


def places(value, path=()):
    """All (container, key) pairs below ``value``."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key], (*path, key))


def mutate(value, rng: random.Random):
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        spots = list(places(value))
        if not spots:
            break
        container, key = rng.choice(spots)
        action = rng.random()
        if action < 0.55:
            container[key] = copy.deepcopy(rng.choice(NASTY))
        elif action < 0.7:
            del container[key]
        elif action < 0.85:
            other, place = rng.choice(spots)
            there = place in other if isinstance(other, dict) else place < len(other)
            container[key] = copy.deepcopy(other[place]) if there else None
        elif isinstance(container[key], str) and container[key]:
            text = container[key]
            at = rng.randrange(len(text))
            container[key] = text[:at] + chr(rng.randrange(32, 130)) + text[at + rng.randrange(2) :]
        elif isinstance(container[key], int) and not isinstance(container[key], bool):
            container[key] += rng.choice((-1, 1, -80, 80, 2**32))
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
    return value


def mutate_bytes(text: bytes, rng: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        action = rng.random()
        if action < 0.4:
            data[at] = rng.randrange(256)
        elif action < 0.6:
            del data[at : at + rng.randrange(1, 20)]
        elif action < 0.8:
            data[at:at] = rng.choice(INSERTED)
        else:
            del data[at:]
        if not data:
            data = bytearray(b" ")
    return bytes(data)


def images() -> tuple[dict, list]:
    """The same objects as COCO has them, with LVIS' lists and boxes."""
    truth, results = base()
    truth["images"] = [
        {
            **{"id": v, "height": 8, "width": 10, "file_name": f"{v}.jpg"},
            **{"neg_category_ids": [2], "not_exhaustive_category_ids": [1]},
        }
        for v in (1, 2)
    ]
    del truth["videos"]
    for entry in (*truth["annotations"], *results):
        entry["image_id"] = entry.pop("video_id")
        entry["segmentation"] = next(mask for mask in entry.pop("segmentations") if mask)
        entry["area"] = (entry.pop("areas", None) or [8])[0]
        entry["bbox"] = [1, 1, 5, 6.5]
    return truth, results


def evaluate(rng: random.Random, number: int, folder: Path) -> str:
    """One evaluation of tubes or images; 'accepted' or 'refused'."""
    of_images = rng.random() < 0.3
    inputs: list = list(images() if of_images else base())
    side = rng.randrange(2)
    if number % 2:
        path = folder / "in.json"
        path.write_bytes(mutate_bytes(json.dumps(inputs[side]).encode(), rng))
        inputs[side] = path
    else:
        inputs[side] = mutate(inputs[side], rng)
    options = {"mode": rng.choice(("official", "strict")), "threads": 1, "class_agnostic": rng.random() < 0.2}
    if of_images:
        options["federated"] = rng.random() < 0.5
    elif options["mode"] == "strict":
        options["pad_short"] = rng.random() < 0.5
    run = evaluate_images if of_images else evaluate_tubes
    try:
        first = run(*inputs, **options)
    except InputError as error:
        return "refused" if str(error) else "without words"
    compute = reference if number % 10 == 0 else intervals
    assert run(*inputs, **options, compute=compute).stats == first.stats
    if number % 8 < 2:
        whole = html_report.full_report(first, frames=folder)
        html_report.render(whole, first, title="fuzz").encode()
        json.dumps(whole, allow_nan=False)
    return "accepted"


REPORTS: list[dict] = []


def compare(rng: random.Random, number: int, folder: Path) -> str:
    """Two reports, one of them broken."""
    if not REPORTS:
        REPORTS.append(html_report.full_report(evaluate_tubes(*base(), threads=1)))
    try:
        comparison_table(compare_reports(REPORTS[0], mutate(REPORTS[0], rng), ("a", "b")))
    except InputError as error:
        return "refused" if str(error) else "without words"
    return "accepted"


PICTURES: list[bytes] = []


def labels(rng: random.Random, number: int, folder: Path) -> str:
    """A clip of label images, one of them broken."""
    from PIL import Image

    if not PICTURES:
        values = np.zeros((9, 11), np.uint8)
        values[2:6, 3:8] = 1
        for mode in ("L", "P", "1", "I;16"):
            out = io.BytesIO()
            grey = Image.fromarray(values.astype(np.uint16)) if mode == "I;16" else Image.fromarray(values)
            (grey if mode == "I;16" else grey.convert(mode)).save(out, "PNG")
            PICTURES.append(out.getvalue())
    for side in ("a", "b"):
        (folder / side).mkdir(exist_ok=True)
        for t in range(3):
            (folder / side / f"{t}.png").write_bytes(PICTURES[0])
    path = folder / rng.choice("ab") / f"{rng.randrange(3)}.png"
    path.write_bytes(mutate_bytes(rng.choice(PICTURES), rng))
    try:
        evaluate_folders(folder / "a", folder / "b", unsupervised=rng.random() < 0.3)
        read_mask(path)
    except InputError as error:
        return "refused" if str(error) else "without words"
    return "accepted"


def main(count: int, seed: int) -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    for resampling in (bootstrap.interval, bootstrap.difference):
        resampling.__kwdefaults__["draws"] = 3  # each draw computes the same
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            # One in ten is a comparison, one in twenty a clip.
            work = compare if number % 10 == 9 else labels if number % 20 == 3 else evaluate
            started = time.perf_counter()
            try:
                seen[work(rng, number, Path(folder))] += 1
            except Exception:
                print(f"input {number} of seed {seed} ({work.__name__})", file=sys.stderr)
                raise
            slowest = max(slowest, time.perf_counter() - started)
    print(json.dumps({**seen, "slowest_seconds": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

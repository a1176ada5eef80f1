"""Run by test_malformed.py in a process of its own: mutated truth and results, thousands of times.

Every input must end in a report or in an InputError. What is accepted must give the same numbers
twice; where it does not, memory was read that nobody wrote. Prints one JSON object.
"""

from __future__ import annotations

import copy
import faulthandler
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from vis.errors import InputError
from vis.evaluation import evaluate_tubes

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
]  # fmt: skip


INSERTED = (b'"#0"', b"NaN", b"[[[[", b"1e999", b"\\u0023", b"{", b"]", b",,", b"-0", b"\xff")


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
            data[at:at] = rng.choice(
                (b'"#0"', b"NaN", b"[[[[", b"1e999", b"\\u0023", b"{", b"]", b",,", b"-0", b"\xff")
            )
        else:
            del data[at:]
        if not data:
            data = bytearray(b" ")
    return bytes(data)


def main(count: int, seed: int) -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    truth, results = base()
    texts = [json.dumps(truth).encode(), json.dumps(results).encode()]
    seen: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.json"
        for number in range(count):
            inputs = [truth, results]
            side = rng.randrange(2)
            if number % 2:
                path.write_bytes(mutate_bytes(texts[side], rng))
                inputs[side] = path
            else:
                inputs[side] = mutate(inputs[side], rng)
            mode = rng.choice(("official", "strict"))
            started = time.perf_counter()
            try:
                first = evaluate_tubes(*inputs, mode=mode, threads=1).stats
            except InputError as error:
                seen["refused" if str(error) else "without words"] += 1
            else:
                seen["accepted"] += 1
                name = "plain" if number % 10 == 0 else "native"
                assert evaluate_tubes(*inputs, mode=mode, threads=1, engine_name=name).stats == first
            slowest = max(slowest, time.perf_counter() - started)
    print(json.dumps({**seen, "slowest_seconds": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

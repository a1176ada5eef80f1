"""How long does a visitor of the page wait?

    python -m benchmarks.page [--json] [--clip FILE] [--rounds 3] [--device cpu]

The page's own handlers with the real networks of ``quick``, on the sample clip (132 frames of 1280x720), as a
browser would call them, the pictures as JPEG included. Measured in seconds:

    warm up          a server that has just started loads its networks and times a frame
    upload           the file is checked in a process of its own, described, and its first frame shown
    first frame      from pressing Run to the first frame with its objects drawn on it
    frame            a frame of the run, the first one left out
    stop             from Cancel to the end of the run; also in frames that were still finished
    first point      a click on a frame that no network has seen yet
    point            a click on the same frame again
    seek             another frame of the timeline

The best round counts. Beside the seconds that passed stand the seconds of CPU time of this process, which
hardly change when the machine does other work; the load is printed. Reading a clip is done by a child process,
whose time is not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.model_cache import ModelCache
from apps.demo.session import Sessions
from apps.plan import Plan
from vis import weights


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, help="video to open (default: the sample clip)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    clip = args.clip or weights.path("sample")
    rounds = []
    with tempfile.TemporaryDirectory() as place:
        model_cache = ModelCache(device=args.device)
        timer = Timer()
        model_cache.warm(Plan.of("quick"))
        warm = timer.took()
        handlers = Handlers(Sessions(Path(place)), model_cache, cache=Path(place) / "cache")
        for _ in range(args.rounds):
            rounds.append(one_visit(handlers, clip))
    best = {"warm up": warm}
    for name in rounds[0]:
        seconds, cpu = zip(*(found[name] for found in rounds), strict=True)
        best[name] = (min(seconds), min(cpu))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if args.json:
        found = {name: {"seconds": a, "cpu_seconds": b} for name, (a, b) in best.items()}
        print(json.dumps({"clip": clip.name, "best": found, "cores": os.cpu_count(), "load": load}))
        return 0
    print(f"{clip.name}, {os.cpu_count()} cores, load {load}, best of {args.rounds}\n")
    print(f"{'':20} {'seconds':>8} {'CPU':>10}")
    for name, (seconds, cpu) in best.items():
        print(f"{name:20} {seconds:8.3f} {cpu:10.3f}")
    return 0


class Timer:
    """Seconds since it was made: (passed, of CPU time)."""

    def __init__(self) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def took(self) -> tuple[float, float]:
        """Both."""
        return time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]


def one_visit(handlers: Handlers, clip: Path) -> dict[str, tuple[float, float]]:
    """Everything that a visitor waits for."""
    found: dict[str, tuple[float, float]] = {}
    token, _, _ = handlers.start(None)
    timer = Timer()
    handlers.upload(token, str(clip), Form())
    found["upload"] = timer.took()

    timer, stop, arrived, asked = Timer(), Timer(), 0, 0
    for update in handlers.run(token, Form()):
        if " of " in update.text and update.view is not None:
            arrived += 1
            if arrived == 1:
                found["first frame"] = timer.took()
                timer, first = Timer(), update.view["position"]
            if arrived == 4:
                asked = update.view["position"]
                found["frame"] = tuple(spent / (asked - first) for spent in timer.took())  # type: ignore[assignment]
                stop = Timer()
                handlers.cancel(token)
    found["stop"] = stop.took()
    done = len(handlers.sessions.get(token).history.result.frames)  # type: ignore[union-attr]
    found["frames after stop"] = float(done - 1 - asked), 0.0

    for name in ("first point", "point"):
        timer = Timer()
        update = handlers.act(token, {"name": "click", "x": 180.0, "y": 420.0, "inside": True})
        found[name] = timer.took()
        assert "Correct" in update.view["message"], update.view["message"]  # type: ignore[index]
    timer = Timer()
    handlers.seek(token, {"by": 1})
    found["seek"] = timer.took()
    return found


if __name__ == "__main__":
    sys.exit(main())

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

The best round counts. A machine that does other work beside this one gives other figures: the load is printed.
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

from apps.demo.command import plan_of
from apps.demo.engines import Engines
from apps.demo.handlers import Desk, Form
from apps.demo.session import Sessions
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
        engines = Engines(device=args.device)
        start = time.perf_counter()
        engines.warm(plan_of(["--preset", "quick"]))
        warm = time.perf_counter() - start
        desk = Desk(Sessions(Path(place)), engines, cache=Path(place) / "cache")
        for _ in range(args.rounds):
            rounds.append(one_visit(desk, clip))
    best = {name: min(found[name] for found in rounds) for name in rounds[0]}
    best = {"warm up": warm, **best}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if args.json:
        print(json.dumps({"seconds": best, "rounds": rounds, "cores": os.cpu_count(), "load": load}))
        return 0
    print(f"{clip.name}, {os.cpu_count()} cores, load {load:.1f}, best of {args.rounds}\n")
    for name, value in best.items():
        unit = "frames" if name == "stop, frames" else "s"
        print(f"{name:14} {value:8.3f} {unit}")
    return 0


def one_visit(desk: Desk, clip: Path) -> dict[str, float]:
    """Seconds of everything that a visitor waits for."""
    found: dict[str, float] = {}
    token, _, _ = desk.start(None)
    start = time.perf_counter()
    desk.upload(token, str(clip), Form())
    found["upload"] = time.perf_counter() - start

    start = time.perf_counter()
    arrived: list[float] = []
    asked = 0
    cancelled = 0.0
    for update in desk.run(token, Form()):
        if " of " in update.text and update.view is not None:
            arrived.append(time.perf_counter() - start)
            if len(arrived) == 4:
                asked = update.view["position"]
                cancelled = time.perf_counter()
                desk.cancel(token)
    found["stop"] = time.perf_counter() - cancelled
    done = len(desk.sessions.get(token).history.result.frames)  # type: ignore[union-attr]
    found["stop, frames"] = float(done - 1 - asked)
    found["first frame"] = arrived[0]
    found["frame"] = (arrived[-1] - arrived[0]) / asked

    for name in ("first point", "point"):
        start = time.perf_counter()
        update = desk.act(token, {"name": "click", "x": 180.0, "y": 420.0, "inside": True})
        assert "Correct" in update.view["message"], update.view["message"]  # type: ignore[index]
        found[name] = time.perf_counter() - start
    start = time.perf_counter()
    desk.seek(token, {"by": 1})
    found["seek"] = time.perf_counter() - start
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Does memory grow with the video's length? Peak resident memory of ``vistubes run`` on 300 and 3,000 frames.

    python -m benchmarks.memory [--json] [--clip FILE] [--frames 3000] [--short 300] [-- OPTIONS OF vistubes run]

The clip (default: the 720p sample) is looped into a temporary file of ``--frames`` frames. The whole
command, overlay and all, then runs on its first ``--short`` frames and on all of them, each in a
fresh process whose peak the operating system reports. The full pipeline takes a while on two cores;
for a quick look: ``-- --model none --detector motion``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from vis import weights
from vis.video import VideoWriter, open_source


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, help="720p video to loop (default: the sample clip)")
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--short", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("options", nargs="*", help="options of vistubes run, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "long.mp4"
        tell(f"looping {args.clip or 'the sample'} to {args.frames} frames")
        size = loop(args.clip or weights.path("sample"), clip, args.frames)
        short = measure(clip, Path(folder) / "short", args.short, args.options)
        long = measure(clip, Path(folder) / "long", args.frames, args.options)
    figures = {
        f"rss_{args.short}": short["rss"],
        f"rss_{args.frames}": long["rss"],
        "ratio": round(long["rss"] / short["rss"], 4),
        "seconds": [short["seconds"], long["seconds"]],
        "tube_frames": [short["tube_frames"], long["tube_frames"]],
        "size": size,
        "options": args.options,
    }
    if args.json:
        print(json.dumps(figures))
    else:
        print(f"first {args.short:>5} frames: {short['rss'] / 2**20:8.0f} MiB, {short['seconds']:.0f} s")
        print(f"all   {args.frames:>5} frames: {long['rss'] / 2**20:8.0f} MiB, {long['seconds']:.0f} s")
        print(f"ratio: {figures['ratio']}")
    return 0


def loop(source: Path, target: Path, frames: int) -> list[int]:
    """Write ``frames`` frames, playing ``source`` again and again; returns its size."""
    video = open_source(source)
    endless = (frame for _ in count() for frame in video)
    with VideoWriter(target, video.info.size, video.info.fps or 25.0) as writer:
        for _, frame in zip(range(frames), endless, strict=False):
            writer.write(frame.image)
    return list(video.info.size)


def measure(clip: Path, out: Path, frames: int, options: list[str]) -> dict[str, Any]:
    """Peak resident bytes, seconds, and objects times frames of one ``vistubes run`` in its own process."""
    command = [sys.executable, "-m", "apps.cli", "run", str(clip), "--end", str(frames), "--out", str(out)]
    tell(" ".join(command[2:] + options))
    start = time.monotonic()
    # Not subprocess.run: only wait4 gives this one child's peak. Its progress goes to our stderr.
    child = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"vistubes run ended with exit code {child.returncode}")
    done = json.loads((out / "tubes.json").read_text(encoding="utf-8"))
    return {
        # Kilobytes on Linux, bytes on macOS.
        "rss": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "seconds": round(time.monotonic() - start, 1),
        "tube_frames": sum(len(tube["frames"]) for tube in done["tubes"]),
    }


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

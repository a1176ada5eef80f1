"""constraints.txt anew: the versions that pip chooses today for the tests, on each Python that is named.

    python .github/constraints.py python3.10 python3.11 python3.12 python3.13 > constraints.txt

Nothing is installed. Run the tests with the new file before it is committed: it is to hold what they passed with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# The versions that the tests passed with on Python 3.11, and what pip chose for other Pythons on the same day.
# `make` installs these, `make LATEST=1` the newest. Made by .github/constraints.py; CONTRIBUTING.md says when.
"""


def versions(python: str, requirements: list[str]) -> tuple[str, dict[str, str]]:
    """'3.11', and name -> version of all that pip would install for the requirements."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
        inner = next(Path(folder).glob("[bS]*/python*"))
        pip = [sys.executable, "-m", "pip", "--python", str(inner), "install", "-q", "--dry-run"]
        done = subprocess.run([*pip, "--report", "-", *requirements], check=True, stdout=subprocess.PIPE)
        report = json.loads(done.stdout)
    found = (one["metadata"] for one in report["install"])
    names = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in found}
    return report["environment"]["python_version"], names


def marker(chosen: list[str], pythons: list[str]) -> str:
    """Which of the rising ``pythons`` are ``chosen``, as an environment marker; '' where all are."""
    if len(chosen) == 1 and chosen[0] not in (pythons[0], pythons[-1]):
        return f"; python_version == '{chosen[0]}'"
    first, after = pythons.index(chosen[0]), pythons.index(chosen[-1]) + 1
    assert chosen == pythons[first:after], f"{chosen} are no neighbours"
    bounds = [f"python_version >= '{chosen[0]}'"] if first else []
    bounds += [f"python_version < '{pythons[after]}'"] if after < len(pythons) else []
    return f"; {' and '.join(bounds)}" if bounds else ""


def lines(by_python: dict[str, dict[str, str]]) -> list[str]:
    """One line for each version of each package; a package that one Python alone needs has no marker."""
    made = []
    for name in sorted(set().union(*by_python.values())):
        pythons = [python for python, names in by_python.items() if name in names]
        of_version: dict[str, list[str]] = {}
        for python in pythons:
            of_version.setdefault(by_python[python][name], []).append(python)
        made += [f"{name}=={version}{marker(own, pythons)}" for version, own in of_version.items()]
    return made


def main(pythons: list[str]) -> None:
    """Print the file for these Pythons."""
    import tomllib  # of Python 3.11 and newer

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]  # that of the tests names what the others bring
    requirements = sorted({*project["dependencies"], *extras["test"], *extras["lint"]})
    by_python = dict(versions(python, requirements) for python in pythons)
    print(HEAD + "\n".join(lines(by_python)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""The house stands as docs/architecture.md draws it: directions of imports, names, and what loads when."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vis.errors

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "vis": {"vis"},
    "trackers": {"vis", "trackers"},
    "detectors": {"vis", "detectors"},
    "apps": {"vis", "trackers", "detectors", "apps"},
}
ROOMS = set(MAY_IMPORT) | {"tests", "benchmarks", "examples"}


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_one_way(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imported_names(path)
        if name.split(".")[0] in ROOMS - MAY_IMPORT[room]
    }
    assert not wrong


def test_trackers_need_numpy_and_scipy_only() -> None:
    tops = {name.split(".")[0] for path in (ROOT / "trackers").rglob("*.py") for name in imported_names(path)}
    foreign = tops - set(sys.stdlib_module_names) - {"numpy", "scipy", "vis", "trackers"}
    assert not foreign


def test_no_module_is_called_utils() -> None:
    bad = [p for room in ROOMS for p in (ROOT / room).rglob("*.py") if p.stem in ("utils", "helpers", "misc")]
    assert not bad


def test_each_package_belongs_to_this_distribution_alone() -> None:
    owners = importlib.metadata.packages_distributions()
    ours = importlib.metadata.distribution("vis-tubes")
    for name in MAY_IMPORT:
        # An editable installation lists its packages through a path file, so the name may be absent.
        assert set(owners.get(name, ["vis-tubes"])) == {ours.metadata["Name"]}
        assert Path(str(importlib.import_module(name).__file__)).parent == ROOT / name


def test_errors_are_drawn_in_their_docstring_and_exported() -> None:
    defined = {
        name
        for name, value in vars(vis.errors).items()
        if isinstance(value, type) and issubclass(value, (vis.errors.VisError, vis.errors.VisWarning))
    }
    assert defined == set(vis.errors.__all__)
    drawing = (vis.errors.__doc__ or "").split()
    assert defined <= set(drawing)


def module_names() -> list[str]:
    names = []
    for room in MAY_IMPORT:
        package = importlib.import_module(room)
        names += [m.name for m in pkgutil.walk_packages(package.__path__, f"{room}.")]
    return names


@pytest.mark.parametrize("name", module_names())
def test_all_lists_what_is_there(name: str) -> None:
    if name.endswith("__main__"):
        return
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(set(exported), key=exported.index), f"{name}.__all__ repeats a name"
    missing = [item for item in exported if not hasattr(module, item)]
    assert not missing, f"{name}.__all__ names what is not there"


@pytest.mark.parametrize(
    "code",
    [
        "from apps.cli import main; main(['--help'])",
        "from apps.cli import main; main(['run', '--help'])",
        "import vis, detectors, trackers, apps",
        "import vis.pipeline, vis.refine",
    ],
)
def test_help_and_plain_imports_load_nothing_heavy(code: str) -> None:
    heavy = ["torch", "transformers", "onnxruntime", "gradio", "ray", "cv2", "numba", "av"]
    script = (
        "import sys\n"
        f"try:\n    exec({code!r})\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.splitlines()[-1] == "HEAVY []"

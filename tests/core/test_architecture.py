"""The house stands as docs/architecture.md draws it: directions of imports, names, and what loads when."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
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


def module_files() -> dict[str, Path]:
    """Module name -> file, of the four rooms."""
    files = {}
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imported_names(source: str, where: object = "") -> set[str]:
    """What a module imports, at its top, in functions and for type checkers; ``from a import b`` gives ``a.b``."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def named_classes(source: str) -> set[str]:
    """The modules of strings such as "module.inner:Class", which a registry imports later."""
    return set(re.findall(r"""["']([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*["']""", source))


def imported_modules(name: str, source: str, modules: Collection[str]) -> set[str]:
    """The modules of the four rooms that must be there before module ``name`` can be.

    Importing ``a.b.c`` runs the packages ``a`` and ``a.b`` too, but for those that ``name`` itself lies in: they are
    running already.
    """
    found = set()
    for imported in imported_names(source, name):
        while imported and imported not in modules:  # a name in a module
            imported = imported.rpartition(".")[0]
        parts = imported.split(".")
        packages = {".".join(parts[:n]) for n in range(1, len(parts))}
        found |= {imported} | {package for package in packages if not f"{name}.".startswith(f"{package}.")}
    return found - {name, ""}


def cycles(imports: Mapping[str, Collection[str]]) -> set[frozenset[str]]:
    """The groups of modules that reach one another."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(imports[start])
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += imports[name]
        return seen

    reach = {name: reached(name) for name in imports}
    return {frozenset(n for n in reach[name] if name in reach[n]) for name in reach if name in reach[name]}


def test_cycles_are_found_wherever_the_import_stands() -> None:
    sources = {
        "a": "import b.inner",
        "b": "",
        "b.inner": "def f():\n    from c import thing",
        "c": "if TYPE_CHECKING:\n    import a",
        "d": "from a import thing",
        "e": "import os.path",
    }
    imports = {name: imported_modules(name, source, sources) for name, source in sources.items()}
    assert cycles(imports) == {frozenset({"a", "b.inner", "c"})}
    assert imports["b.inner"] == {"c"}
    assert not imports["e"]
    assert imported_modules("b.other", "from b import inner", sources) == {"b.inner"}
    assert imported_modules("b.other", "from b import a_name", sources) == {"b"}


def test_there_are_no_import_cycles() -> None:
    files = module_files()
    imports = {
        name: imported_modules(name, path.read_text(encoding="utf-8"), files) for name, path in files.items()
    }
    assert not cycles(imports)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_one_way(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for source in [path.read_text(encoding="utf-8")]
        for name in imported_names(source, path) | named_classes(source)
        if name.split(".")[0] in ROOMS - MAY_IMPORT[room]
    }
    assert not wrong


def test_hqsam_is_reached_through_the_registry_of_mask_models() -> None:
    may = re.compile(r"vis\.(hqsam|training|refiners)|apps\.(verbs\.)?(train|train_data|export)")
    naming = {
        name
        for name, path in module_files().items()
        for source in [path.read_text(encoding="utf-8")]
        if any(
            f"{one}.".startswith("vis.hqsam.") for one in imported_names(source, path) | named_classes(source)
        )
    }
    assert {"vis.hqsam", "vis.refiners", "vis.training.loop"} <= naming
    assert {name for name in naming if not re.fullmatch(rf"({may.pattern})(\.\w+)*", name)} == set()


def test_no_module_beside_the_registries_names_a_mask_models_family() -> None:
    """HQ-SAM, which training and export are about, is the test's above."""
    from vis.refiners import REFINERS
    from vis.weights.table import HUB_MODELS

    may = {"vis.refiners", "vis.engines", "vis.weights.table", "vis.sam2", "detectors", "apps.presets"}
    families = {*REFINERS, *HUB_MODELS} - {"hqsam"}
    naming = set()
    for name, path in module_files().items():
        source = path.read_text(encoding="utf-8")
        words = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        imported = imported_names(source, path) | named_classes(source)
        if words & families or any(f"{one}.".startswith("vis.sam2.") for one in imported):
            naming.add(name)
    assert {"vis.refiners", "vis.weights.table"} <= naming
    assert {name for name in naming - may if not name.startswith("vis.sam2.")} == set()


def namespaces(source: str) -> tuple[int, int]:
    """How often a module names ``argparse.Namespace``, and how many of these are in a class that is no ``Action``."""
    tree = ast.parse(source)

    def count(tree: ast.AST) -> int:
        return sum(isinstance(node, ast.Attribute) and node.attr == "Namespace" for node in ast.walk(tree))

    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    held = [one for one in classes if not any("Action" in ast.unparse(base) for base in one.bases)]
    return count(tree), sum(map(count, held))


def test_parsed_options_are_found() -> None:
    source = (
        "class Job:\n    def f(self, args: argparse.Namespace): ...\ndef run(args: argparse.Namespace): ..."
    )
    assert namespaces(source) == (2, 1)
    assert namespaces(source.replace("class Job", "class Former(BooleanOptionalAction)")) == (2, 0)


def test_parsed_options_end_in_the_verbs() -> None:
    parsing = re.compile(r"apps\.(verbs\.\w+|options|option_types|cli)")
    about_parsers = {"apps.from_python", "apps.command_docs", "apps.completion"}
    found = {name: path.read_text(encoding="utf-8") for name, path in module_files().items()}
    using = {name for name, source in found.items() if "argparse" in imported_names(source, name)}
    assert "apps.verbs.run" in using
    assert {name for name in using - about_parsers if not parsing.fullmatch(name)} == set()
    assert {name for name in about_parsers if namespaces(found[name])[0]} == set()
    assert {name for name in using if namespaces(found[name])[1]} == set(), "a class holds parsed options"


def test_trackers_need_numpy_and_scipy_only() -> None:
    tops = {
        name.split(".")[0]
        for path in (ROOT / "trackers").rglob("*.py")
        for name in imported_names(path.read_text(encoding="utf-8"))
    }
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
        "import vis.pipeline, vis.prompt_policies",
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

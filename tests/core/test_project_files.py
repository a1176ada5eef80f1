"""What contributors and their machines read says what pyproject.toml says: Pythons, versions, constraints, hooks."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import vis
from apps import cli

yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with the tests' packages, is not installed")
requirements = pytest.importorskip("packaging.requirements")
specifiers = pytest.importorskip("packaging.specifiers")
ROOT = Path(__file__).resolve().parents[2]


def read_yaml(place: str) -> Any:
    return yaml.safe_load((ROOT / place).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="of Python 3.11 and newer")
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def constraints() -> list[Any]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [requirements.Requirement(line) for line in lines if line and not line.startswith("#")]


def workflow_pythons() -> list[str]:
    jobs = read_yaml(".github/workflows/tests.yml")["jobs"]
    pythons: list[str] = jobs["tests"]["strategy"]["matrix"]["python"]
    return pythons


def test_the_workflow_tries_every_python_that_the_package_takes(project: dict[str, Any]) -> None:
    taken = specifiers.SpecifierSet(project["requires-python"])
    assert workflow_pythons() == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in taken]


@pytest.mark.parametrize("python", workflow_pythons())
def test_constraints_pin_one_fitting_version_of_every_dependency(
    project: dict[str, Any], python: str
) -> None:
    pinned: dict[str, str] = {}
    for row in constraints():
        if row.marker is None or row.marker.evaluate({"python_version": python}):
            (pin,) = row.specifier
            assert pin.operator == "=="
            assert row.name not in pinned, f"{row.name} has two versions on Python {python}"
            pinned[row.name] = pin.version
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    linux = {"python_version": python, "platform_system": "Linux", "platform_machine": "x86_64"}
    for line in (*project["dependencies"], *extras):
        wanted = requirements.Requirement(line)
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if wanted.marker is None or wanted.marker.evaluate(linux):
            assert name in pinned, f"{line} on Python {python}"
            assert pinned[name] in wanted.specifier, f"{line} on Python {python}"


def test_markers_part_the_pythons_that_have_other_versions() -> None:
    script = runpy.run_path(str(ROOT / ".github" / "constraints.py"))
    lines = script["lines"]
    assert (ROOT / "constraints.txt").read_text(encoding="utf-8").startswith(script["HEAD"])
    chosen = {
        "3.10": {"a": "1", "b": "1", "only": "4"},
        "3.11": {"a": "1", "b": "2"},
        "3.12": {"a": "1", "b": "3"},
        "3.13": {"a": "1", "b": "3"},
    }
    assert lines(chosen) == [
        "a==1",
        "b==1; python_version < '3.11'",
        "b==2; python_version == '3.11'",
        "b==3; python_version >= '3.12'",
        "only==4",
    ]


def test_hooks_use_the_tested_ruff() -> None:
    (ruff,) = (row for row in constraints() if row.name == "ruff")
    (repo,) = read_yaml(".pre-commit-config.yaml")["repos"]
    named = {extra for hook in repo["hooks"] for extra in hook.get("additional_dependencies", [])}
    assert named == {str(ruff)}


def test_the_smoke_test_runs_verbs_that_there_are() -> None:
    steps = read_yaml(".github/workflows/tests.yml")["jobs"]["smoke"]["steps"]
    commands = [line.split() for step in steps for line in step.get("run", "").splitlines()]
    ours = [words[1:] for words in commands if words[0] == "vistubes"]
    assert "run" in {verb for verb, *_ in ours}
    for verb, *words in ours:
        cli.build_parser(verb).parse_args(words)


def test_the_version_is_the_same_wherever_it_stands(project: dict[str, Any]) -> None:
    assert {project["version"], read_yaml("CITATION.cff")["version"]} == {vis.__version__}


def test_issue_forms_ask_under_ids_of_their_own() -> None:
    for name in ("bug", "idea"):
        form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
        assert {"name", "description"} <= set(form)
        asked = [part["id"] for part in form["body"]]
        assert len(set(asked)) == len(asked) > 0

"""``import vis``: a dozen names, imported when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import vis


def test_importing_vis_loads_neither_numpy_nor_torch() -> None:
    script = (
        "import sys, vis\n"
        "listed = dir(vis)\n"
        "print(sorted(set(vis.__all__) - set(listed)), {'numpy', 'torch', 'cv2'} & set(sys.modules))\n"
        "vis.track, vis.Tube, vis.load_refiner\n"
        "print({'torch', 'cv2', 'av'} & set(sys.modules))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:2] == ["[] set()", "set()"]


@pytest.mark.parametrize("name", sorted(vis._PLACES))
def test_each_name_is_what_its_module_calls_it(name: str) -> None:
    module, _, attribute = vis._PLACES[name].partition(":")
    assert getattr(vis, name) is getattr(import_module(module), attribute)
    assert getattr(vis, name).__doc__


def test_type_checkers_read_the_same_names_from_the_same_places() -> None:
    told = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in ast.walk(ast.parse(Path(vis.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("vis.")
        for alias in node.names
    }
    assert told == vis._PLACES
    assert sorted([*vis._PLACES, "__version__"]) == sorted(vis.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vis' has no attribute 'trck'"):
        vis.trck  # noqa: B018 - the look is the test

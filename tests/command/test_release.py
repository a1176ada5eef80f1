"""What a release is made of: the wheel and the source archive, and the command that the wheel installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from vis import __version__, masks, weights
from vis.formats import tubes

pytest.importorskip("hatchling", reason="hatchling builds the wheel, and is not installed")
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("vis", "trackers", "detectors", "apps")
BUILD = "import sys, hatchling.build as b; b.build_wheel(sys.argv[1]); b.build_sdist(sys.argv[1])"


@dataclass(frozen=True)
class Release:
    wheel: Path
    archive: Path


def build(sources: Path, folder: Path) -> Release:
    """The wheel and the source archive of the sources, as an installer has them built."""
    folder.mkdir()
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=sources, check=True, capture_output=True)
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Release(wheel, archive)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return build(ROOT, tmp_path_factory.mktemp("release") / "dist")


def members(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_four_packages_and_their_types(release: Release) -> None:
    listing = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    packed = {name for name in members(release.wheel) if name.split("/")[0] in PACKAGES}
    assert set(listing.stdout.split()) <= packed
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed
    assert not [name for name in packed if "__pycache__" in name]
    assert release.wheel.name == f"vis_tubes-{__version__}-py3-none-any.whl"


def test_the_source_archive_builds_the_same_wheel(release: Release, tmp_path: Path) -> None:
    with tarfile.open(release.archive) as archive:
        archive.extractall(tmp_path, filter="data")
    sources = tmp_path / f"vis_tubes-{__version__}"
    again = build(sources, tmp_path / "dist")
    assert members(again.wheel) == members(release.wheel)
    for needed in ("tests/conftest.py", "docs/cli.md", "examples/tubes.py", "constraints.txt", "Makefile"):
        assert (sources / needed).is_file()


@pytest.fixture(scope="module")
def installed(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, whose other packages are those of the tests."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "-q"]
    alone = ["--no-index", "--no-deps", "--no-compile", "--ignore-installed"]
    subprocess.run([*pip, *alone, str(release.wheel)], check=True)
    (own,) = folder.rglob("site-packages")
    (own / "tests_own.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    return programs


@pytest.mark.slow
def test_the_installed_command_does_the_main_job_on_ten_frames_of_the_sample(
    installed: Path, tmp_path: Path
) -> None:
    """Detection, association and Light HQ-SAM, by the code that the wheel brought."""
    for name in weights.QUICK:
        if not weights.cached(weights.WEIGHTS[name]):
            pytest.skip(f"{name} is not in the cache: vistubes models fetch {name}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(program: str, *words: str) -> str:
        done = subprocess.run(
            [str(installed / program), *words],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    packages = ", ".join(PACKAGES)
    places = call("python", "-c", f"import {packages}; print(*(room.__file__ for room in ({packages})))")
    for place in places.split():
        assert Path(place).is_relative_to(installed.parent), "not the wheel's"
    assert call("vistubes", "--version").split() == ["vis-tubes", __version__]

    ten = ("--start", "40", "--end", "130", "--stride", "9")
    record = json.loads(call("vistubes", "run", "sample", *ten, "--out", "run", "--json"))
    assert record["video"]["frames"] == 10
    assert (tmp_path / "run" / "overlay.mp4").stat().st_size > 0
    rabbit = max(tubes.read(tmp_path / "run" / "tubes.json").tubes, key=len)
    assert len(rabbit) >= 8
    assert rabbit.masks is not None
    # The rabbit fills 10 to 16 % of the picture while it stands before its hole.
    shares = [masks.area(mask) / (mask.size[0] * mask.size[1]) for mask in rabbit.masks]
    assert min(shares) > 0.08
    assert max(shares) < 0.25

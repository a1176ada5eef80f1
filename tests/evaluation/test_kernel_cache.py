"""Where the compiled loops are kept, who compiles them, and what happens where nothing can be kept."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from vis.errors import FallbackWarning
from vis.evaluation import kernel_cache
from vis.evaluation.kernel_types import INT
from vis.evaluation.tube_masks import BadMaskError


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a new process, with a cache of its own; one kernel."""
    monkeypatch.setenv("VISTUBES_CACHE", str(tmp_path / "cache"))
    again(monkeypatch)
    return tmp_path / "cache" / "kernels"


def again(monkeypatch) -> None:
    """Go on as a process that has just begun."""
    monkeypatch.setattr(kernel_cache, "_process", kernel_cache._Process())


def added():
    @kernel_cache.kernel(INT, INT)
    def add(a, b):
        """A sum."""
        return a + b

    return add


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.nb?"))


def test_the_first_call_compiles_keeps_and_says_so(fresh, caplog):
    add = added()
    assert not fresh.exists()
    with caplog.at_level(logging.WARNING):
        assert add(1, 2) == 3
    assert [record.message[:30] for record in caplog.records] == ["compiling the evaluator's loops"[:30]]
    (folder,) = fresh.iterdir()
    assert (folder / kernel_cache.COMPLETE).exists()
    assert len(names(folder)) == 2  # numba's index and the code
    assert str(folder) != numba.config.CACHE_DIR


def test_a_later_process_loads_what_is_kept(fresh, caplog, monkeypatch):
    assert added()(1, 2) == 3
    (folder,) = fresh.iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
    again(monkeypatch)
    caplog.clear()
    assert added()(1, 2) == 3
    assert not caplog.records
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == before


def test_another_source_compiler_or_cpu_has_another_folder(monkeypatch, tmp_path):
    here = kernel_cache._key()
    assert here == kernel_cache._key()
    for name in ("mask_kernels.py", "tube_kernels.py", "kernel_cache.py"):
        shutil.copy(Path(kernel_cache.__file__).with_name(name), tmp_path / name)
    monkeypatch.setattr(kernel_cache, "__file__", str(tmp_path / "kernel_cache.py"))
    copied = kernel_cache._key()
    (tmp_path / "mask_kernels.py").write_text("# a callee changed\n")
    changed = kernel_cache._key()
    monkeypatch.setattr(numba, "__version__", "0.0")
    assert len({here, copied, changed, kernel_cache._key()}) == 4


def test_without_a_folder_code_is_compiled_in_memory_with_a_warning(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VISTUBES_CACHE", str(tmp_path / "file"))
    add = added()
    with pytest.warns(FallbackWarning, match=r"cannot be kept \(.*file.*\).*VISTUBES_CACHE"):
        assert add(1, 2) == 3
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_broken_file_costs_one_process_its_time(fresh, monkeypatch, recwarn):
    assert added()(1, 2) == 3
    for path in fresh.rglob("*.nbc"):
        path.write_bytes(b"no machine code")
    again(monkeypatch)
    add, other = added(), added()
    with pytest.warns(FallbackWarning, match="cannot be kept"):
        assert add(1, 2) == 3
    recwarn.clear()
    assert other(1, 2) == 3
    again(monkeypatch)
    assert added()(1, 2) == 3  # compiled and kept anew
    assert not recwarn.list
    assert len(names(fresh)) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_no_failure(fresh, tmp_path):
    fresh.parent.mkdir()
    fresh.parent.chmod(0o500)
    add = added()
    with pytest.warns(FallbackWarning, match="cannot be kept"):
        assert add(1, 2) == 3


def test_numba_is_told_of_scipy_without_importing_it():
    code = (
        "import sys; from vis.evaluation import intervals, kernel_cache; kernel_cache.compile_all()\n"
        "import numba.np.arraymath as a, numba.np.linalg as b\n"
        "print('scipy.linalg' in sys.modules, a._HAVE_BLAS, b.ensure_blas.__name__)"
    )
    kernel_cache.compile_all()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "ensure_blas"]
    assert not done.stderr


def test_of_many_processes_one_compiles(fresh, monkeypatch):
    """The lock is between open files, so threads that ask for the folder stand for processes."""
    compiled = []

    def slowly(self):
        compiled.append(self)
        time.sleep(0.2)  # the others are at the door by now

    add = added()
    monkeypatch.setattr(kernel_cache.Kernel, "compile", slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: kernel_cache._find_folder(), range(4)))
    assert compiled == [add]
    assert kernel_cache._process.folder == next(fresh.iterdir())


def test_broken_run_lengths_name_the_mask(compute):
    good = np.array([6, 3, 3], np.int64)
    for bad in ([6, 3, 4], [6, -3, 9], [13], [6, 7]):
        lengths = np.concatenate([good, np.array(bad, np.int64)])
        with pytest.raises(BadMaskError) as caught:
            compute.from_runs(lengths, np.array([3, 3, 3 + len(bad)], np.int64), (3, 4))
        assert caught.value.index == 2
    for text in (b"6", b"633o", b"633\x80", b"633 ", b"6oooooooo033"):
        with pytest.raises(BadMaskError) as caught:
            compute.from_text(b"63" + text, np.array([0, 2 + len(text)], np.int64), (3, 4))
        assert caught.value.index == 1

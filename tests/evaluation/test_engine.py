"""Where the compiled kernels come from, and what happens without them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vis.errors import FallbackWarning
from vis.evaluation import kernel_store, machine_code, plain
from vis.evaluation.runs import BadMaskError, engine


def test_stored_code_is_used_only_when_whole(tmp_path):
    path = tmp_path / "kernels" / "code.o"
    assert kernel_store._read(path) is None
    kernel_store._write(path, b"machine code")
    assert kernel_store._read(path) == b"machine code"
    path.write_bytes(path.read_bytes()[:-1])
    assert kernel_store._read(path) is None


def test_a_read_only_cache_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    kernel_store._write(tmp_path / "file" / "code.o", b"machine code")


def test_of_many_processes_one_compiles(tmp_path, monkeypatch):
    compiled = []

    def make(llvm, path):
        compiled.append(path)
        time.sleep(0.2)  # the others are at the door by now
        kernel_store._write(path, b"machine code")
        return b"machine code"

    monkeypatch.setattr(kernel_store, "_make", make)
    with ThreadPoolExecutor(4) as pool:  # the lock is between files' handles, so threads stand for processes
        codes = list(
            pool.map(lambda _: kernel_store._stored(None, tmp_path / "kernels" / "code.o"), range(4))
        )
    assert codes == [b"machine code"] * 4
    assert len(compiled) == 1

    (tmp_path / "file").write_text("in the way")
    assert kernel_store._stored(None, tmp_path / "file" / "code.o") == b"machine code"
    assert len(compiled) == 2


def test_without_numba_numpy_takes_over_with_a_warning(monkeypatch):
    import vis.evaluation.native  # noqa: F401  its first import keeps the function of that moment

    def missing():
        raise ImportError("numba is not installed")

    monkeypatch.setattr(kernel_store, "functions", missing)
    with pytest.warns(FallbackWarning, match="numba is not installed.*same numbers but slower"):
        assert engine.__wrapped__("auto") is plain
    with pytest.raises(ImportError):
        engine.__wrapped__("native")


def test_the_environment_chooses_the_plain_way(monkeypatch):
    monkeypatch.setenv("VISTUBES_ENGINE", "plain")
    assert engine.__wrapped__("auto") is plain


def test_a_later_process_needs_no_numba(tmp_path):
    """Importing numba takes longer than evaluating; stored code must do without."""
    kernel_store.functions()
    code = "import sys; from vis.evaluation.kernel_store import functions; functions(); print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["native", "plain"])
def test_broken_run_lengths_name_the_mask(name):
    compute = engine(name)
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


@pytest.mark.skipif(machine_code.processor() is None, reason="images are for Linux on x86-64")
def test_the_mapped_image_computes_what_the_linked_object_computes():
    kernel_store.functions()  # compiles and stores what is missing
    mapped, linked = kernel_store._mapped(), kernel_store._linked()
    assert mapped is not None, "the compiled object was not understood"
    assert mapped.keys() == linked.keys() == kernel_store._ARGUMENTS.keys()
    chars, ends = np.frombuffer(b"633", np.uint8), np.array([3], np.int64)
    for places in (mapped, linked):
        decode = kernel_store._callable(places["decode"], "decode")
        edges, offsets, areas = np.empty(4, np.int32), np.empty(2, np.int64), np.empty(1, np.int64)
        assert decode(chars, ends, 1, 3, 12, edges, offsets, areas, np.empty((1, 4), np.int32)) == -1
        assert edges[: offsets[1]].tolist() == [6, 9]
        assert areas.tolist() == [3]


@pytest.mark.skipif(machine_code.processor() is None, reason="images are for Linux on x86-64")
def test_a_damaged_image_is_not_run(tmp_path):
    kernel_store.functions()
    good = kernel_store._cache_path(machine_code.processor(), "image").read_bytes()
    path = tmp_path / "code.image"
    for bad in (good[:-1], good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], b"", good[:4096]):
        path.write_bytes(bad)
        with pytest.raises((OSError, ValueError)):
            machine_code.map_image(path)
    path.write_bytes(good)
    addresses, _ = machine_code.map_image(path)
    assert addresses.keys() == kernel_store._ARGUMENTS.keys()


def test_what_is_no_object_of_this_machine_is_not_flattened():
    assert machine_code.flatten(b"MZ" + bytes(100), ["f"]) is None
    assert machine_code.flatten(b"\x7fELF\x02\x01" + bytes(100), ["f"]) is None


@pytest.mark.parametrize("place", ["somewhere", "", None])
@pytest.mark.parametrize("chosen", ["chosen", "", None])
def test_kernels_lie_where_weights_do(monkeypatch, tmp_path, place, chosen):
    from vis.weights.cache import cache_folder

    for variable, value in (("XDG_CACHE_HOME", place), ("VISTUBES_CACHE", chosen)):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, str(tmp_path / value) if value else "")
    assert kernel_store._cache_folder() == cache_folder()

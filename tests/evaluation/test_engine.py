"""Where the compiled kernels come from, and what happens without them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vis.errors import FallbackWarning
from vis.evaluation import native, plain
from vis.evaluation.runs import BadMaskError, engine


def test_stored_code_is_used_only_when_whole(tmp_path):
    path = tmp_path / "kernels" / "code.o"
    assert native._read(path) is None
    native._write(path, b"machine code")
    assert native._read(path) == b"machine code"
    path.write_bytes(path.read_bytes()[:-1])
    assert native._read(path) is None


def test_a_read_only_cache_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    native._write(tmp_path / "file" / "code.o", b"machine code")


def test_without_numba_numpy_takes_over_with_a_warning(monkeypatch):
    def missing():
        raise ImportError("numba is not installed")

    monkeypatch.setattr(native, "functions", missing)
    with pytest.warns(FallbackWarning, match="numba is not installed.*same numbers but slower"):
        assert engine.__wrapped__("auto") is plain
    with pytest.raises(ImportError):
        engine.__wrapped__("native")


def test_the_environment_chooses_the_plain_way(monkeypatch):
    monkeypatch.setenv("VISTUBES_ENGINE", "plain")
    assert engine.__wrapped__("auto") is plain


def test_a_later_process_needs_no_numba(tmp_path):
    """Importing numba takes longer than evaluating; stored code must do without."""
    native.functions()
    code = "import sys; from vis.evaluation import native; native.functions(); print('numba' in sys.modules)"
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

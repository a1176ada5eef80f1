"""Opening an ONNX model: a file or a name of the weights table, quiet, with the threads of torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vis import weights as weight_files
from vis.errors import CheckpointError, WeightsError

__all__ = ["open_session", "weights_file"]


def weights_file(weights: str | Path) -> Path:
    """A file that exists, else the verified file of that name in the weights table."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if isinstance(weights, Path) or path.suffix or len(path.parts) > 1:
        raise WeightsError(f"no file {path}; give an existing file, or a name of `vistubes models list`")
    return weight_files.path(str(weights))


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    ``threads``: None takes ``OMP_NUM_THREADS`` when set, else all cores, as torch does. Raises
    :class:`CheckpointError` when the file is no ONNX model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: exports warn about their own unused initialisers
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    # Spinning threads between two frames take the cores from the refiner.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own error types share no base but Exception
        raise CheckpointError(f"{path} is not an ONNX model that onnxruntime can run: {error}") from error


def default_threads() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    # Cores this process may use: a container's or taskset's share, where the system tells.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1

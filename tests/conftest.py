"""What all tests share: the optional data folder, and a machine kept quiet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two test processes on two cores: one thread each is faster than four that fight.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder: $VISTUBES_SHARED_DATA, else ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VISTUBES_SHARED_DATA", beside))
    if not (folder / "README.md").is_file():
        pytest.skip(f"shared data not found at {folder}; set VISTUBES_SHARED_DATA to its place")
    return folder

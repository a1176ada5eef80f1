"""What all tests share: the optional data folder, and a machine kept quiet."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Two test processes on two cores: one thread each is faster than four that fight.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


_POLICY = os.sched_getscheduler(0) if sys.platform == "linux" else None

# A busy machine is no failure: no example is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal tests out: ``--dist worksteal`` gives each process one stretch of this list, in its order.

    The page's tests, which wait for a browser most of the time, are the last process's, so that one alone serves
    pages; the long ones are dealt over the others. Short ones come last in every stretch, so that whoever is done
    early can take over some of another's.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    page = [item for item in items if item.path.parent.name == "page"]
    long = [item for item in items if item not in page and item.get_closest_marker("slow")]
    short = [item for item in items if item not in page and item not in long]
    others = max(1, processes - 1)
    stretches = [long[number::others] for number in range(others)]
    stretches = [*stretches, page] if processes > 1 else [long + page]
    left = len(items)
    items.clear()
    for number, stretch in enumerate(stretches):
        room = max(0, left // (processes - number) - len(stretch))
        items += stretch + short[:room]
        left -= len(stretch) + len(short[:room])
        del short[:room]
    items += short


@pytest.fixture(autouse=True)
def no_test_slows_the_next_ones() -> Iterator[None]:
    """A test that runs ``batch`` in this process sets its threads; two of them make the next tests slow threefold.

    One that leaves this process with real-time priority, as an encoder may, makes the other ones' slow tenfold.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    if sys.platform == "linux" and os.sched_getscheduler(0) != _POLICY:
        os.sched_setscheduler(0, _POLICY, os.sched_param(0))
        pytest.fail("the test has changed how the system schedules this process")


def pytest_collection_finish() -> None:
    """What the tests' modules have loaded stays loaded: looking through it for garbage takes a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def quick_collection() -> None:
    """``gc.collect()`` looks at what the test makes, not at what tests before it have loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder: $VISTUBES_SHARED_DATA, else ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VISTUBES_SHARED_DATA", beside))
    if not (folder / "README.md").is_file():
        pytest.skip(f"shared data not found at {folder}; set VISTUBES_SHARED_DATA to its place")
    return folder

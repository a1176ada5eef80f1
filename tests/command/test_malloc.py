"""What a process that freed large blocks still holds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import json, sys
import numpy as np
from apps.malloc import return_large_blocks

arranged = return_large_blocks() if sys.argv[1] == "yes" else False

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

def block():
    return np.ones(2**22, np.float32)  # 16 MiB

for _ in range(3):  # after the first of them, glibc keeps such blocks in its heap
    block()
before = held()
blocks, settled = [], []
for _ in range(4):
    blocks.append(block())
    settled.append(bytearray(100_000))  # behind the block
blocks.clear()
print(json.dumps([arranged, held() - before]))
"""


def grown_by(how: str) -> tuple[bool, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True, timeout=60
    )
    arranged, grown = json.loads(done.stdout)
    return arranged, grown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_freed_large_blocks_go_back_to_the_system() -> None:
    arranged, grown = grown_by("yes")
    if not arranged:
        pytest.skip("not glibc")
    assert grown < 4
    assert grown_by("no")[1] > 12  # otherwise glibc keeps a block at least

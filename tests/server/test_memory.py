"""The allocator takes what it is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from beyond_serve.server.memory import keep_freed_memory
keep = {keep}
if keep:
    assert keep_freed_memory()
held = [bytes(121_000) for _ in range(8)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2_000):
    held = [bytes(121_000) for _ in range(8)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_images_are_not_faulted_in_again_and_again() -> None:
    def faults(keep: bool) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults(True) < faults(False) / 10

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from beyond_serve.engines.collector import settle_collector
kept = [[] for _ in range(1000)]
settle_collector()
print(gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 10_000)
"""


def test_what_was_made_before_is_not_walked_again_and_the_collector_still_runs() -> None:
    # In a process of its own: the test's process is not to be frozen.
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]

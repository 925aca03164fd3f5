from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np

from beyond_serve.bench import loadcheck
from beyond_serve.bench.load.arrivals import ConstantRate
from beyond_serve.bench.load.collect import judged
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.report import Result
from tests.bench.load.tables import MS, spec, table


def a_run(latency_ms: int, cpu: float) -> LoadResult:
    at = np.arange(1000) * MS
    found = table(at, at, at + latency_ms * MS)
    return judged(spec(ConstantRate(1000), duration_s=1.0), found, ("",), thread_cpu=(cpu,))


def test_a_row_holds_medians_and_void_runs_are_noted() -> None:
    result = Result("loadcheck", ())
    check = loadcheck._Check(result, 1.0, None, lambda: None)
    check._row("x", [a_run(1, 0.2), a_run(3, 0.99), a_run(9, 0.4)])
    ((what, who, _rate, p50, _p99, _late, cpu, errors),) = result.rows
    assert (what, who, round(float(str(p50)), 2), cpu, errors) == ("x", "beyond-bench", 3.0, 0.4, 0)
    assert len(result.notes) == 1
    assert "void" in result.notes[0]


def test_a_stopped_process_runs_again_whatever_happens() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
    child.send_signal(signal.SIGSTOP)
    with loadcheck._stopped_once(child.pid):
        pass
    assert child.wait(20) == 0
    assert child.stdout is not None
    child.stdout.close()

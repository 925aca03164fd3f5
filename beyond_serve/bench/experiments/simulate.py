"""`beyond-bench simulate`: the real batcher under virtual time, with tables for accelerators."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.frame import published_table
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import Table
from beyond_serve.bench.simulate import check, drawing, multi_gpu, questions
from beyond_serve.bench.simulate.points import UNAWARE, having, measure, scenario
from beyond_serve.bench.simulate.scenario import POLICIES, TABLES, VIT_BASE_LIKE
from beyond_serve.engines.sim_engine import SimTable, read_sim_table
from beyond_serve.errors import ConfigError

_DEFAULT_POLICIES = f"fixed{UNAWARE},fixed,adaptive,deadline,deferred"
_QUICK_REQUESTS, _DEFAULT_REQUESTS = 20_000, 200_000
_CHECK_LOADS = "0.5,0.8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--asked", action="store_true", help="measure the figures that were asked of the policies, instead"
    )
    instead.add_argument(
        "--figure", type=int, choices=(9,), help="Beyond's Fig. 9, several GPUs on one host, instead"
    )
    instead.add_argument(
        "--check",
        action="store_true",
        help="the simulation beside a real server with the same table, instead",
    )
    _add_scenario_arguments(parser)


def _add_scenario_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--table",
        metavar="FILE",
        help=f"a sim: engine's table, or one of {', '.join(TABLES)} "
        f"(default: the first; --check: the first, {check.SLOWED} times slower)",
    )
    parser.add_argument(
        "--policy",
        metavar="LIST",
        help=f"of {', '.join(POLICIES)}; {UNAWARE} after a name: the server knows no deadlines "
        "(default: all, and fixed also so; --check: fixed)",
    )
    parser.add_argument(
        "--load", metavar="LIST", help="times capacity (default 0.5,0.8,1.0,1.2,2.0; --check: 0.5,0.8)"
    )
    parser.add_argument(
        "--slo-ms", type=float, default=50.0, help="answers within it are good ones; 0 for none (default 50)"
    )
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--requests", type=int, help="a point (default 200,000; --quick 20,000)")
    parser.add_argument(
        "--arrivals", default="poisson", help="poisson (default), constant, burst:N or uneven[:PEAK]"
    )
    parser.add_argument("--max-batch", type=int, default=0, help="default: the table's largest")
    parser.add_argument("--max-delay-us", type=int, default=0, help="of fixed, adaptive and deferred")
    parser.add_argument("--max-queue", type=int, default=1024)
    parser.add_argument(
        "--jitter", type=float, default=0.0, help="coefficient of variation of a batch's time (default 0)"
    )


def run(given: argparse.Namespace, folder: RunFolder, reporter: Reporter) -> None:
    for point in _points(given, reporter):
        folder.add_point(point)
        reporter.progress(len(folder.points), None, _progress(point))
    rates = [p["simulation"]["requests_per_s"] for p in folder.points if "simulation" in p]
    if rates:
        reporter.note(f"simulated {min(rates):,.0f} to {max(rates):,.0f} requests a second")


def _points(given: argparse.Namespace, reporter: Reporter) -> Iterator[dict[str, Any]]:
    if given.figure == 9:
        reporter.status("Beyond's Fig. 9")
        return multi_gpu.figure_9(given.quick, given.seed)
    if given.asked:
        reporter.status("what was asked")
        return questions.questions(given.quick, given.seed)
    if given.check:
        return check.check(
            _table(given.table) if given.table else check.SLOW_TABLE,
            given.policy or "fixed",
            given.max_delay_us,
            _loads(given.load or _CHECK_LOADS),
            given.quick,
            given.seed,
            reporter.status,
        )
    return _policies(given, reporter)


def _policies(given: argparse.Namespace, reporter: Reporter) -> Iterator[dict[str, Any]]:
    table, loads = _table(given.table or VIT_BASE_LIKE.name), _loads(given.load or "0.5,0.8,1.0,1.2,2.0")
    for policy in (given.policy or _DEFAULT_POLICIES).split(","):
        for load in loads:
            reporter.status(f"{policy} at {load:g}")
            one = scenario(
                table,
                policy,
                load,
                requests=given.requests or (_QUICK_REQUESTS if given.quick else _DEFAULT_REQUESTS),
                arrivals=given.arrivals,
                slo_ms=given.slo_ms or None,
                instances=given.instances,
                max_batch=given.max_batch,
                max_delay_us=given.max_delay_us,
                max_queue=given.max_queue,
                jitter=given.jitter,
                seed=given.seed,
            )
            yield measure(one, {"part": "policies", "policy": policy, "load": load})


def _loads(text: str) -> list[float]:
    try:
        loads = [float(part) for part in text.split(",")]
    except ValueError:
        loads = [0.0]
    if min(loads) <= 0:
        raise ConfigError(f"'{text}' is no list of loads", "for example --load 0.5,0.8,1.2")
    return loads


def _table(text: str) -> SimTable:
    return TABLES[text] if text in TABLES else read_sim_table(text)


def _progress(point: Mapping[str, Any]) -> str:
    labels = ", ".join(str(value) for value in point["labels"].values())
    return f"{labels}: {point['load']['throughput_per_s']:,.0f} answers/s"


def tables(folder: RunFolder) -> Sequence[Table]:
    words = published_table(PUBLISHED, folder) if having(folder.points, figure=9) else None
    return [*drawing.tables(folder.points), *([words] if words is not None else [])]


def plots(folder: RunFolder) -> Sequence[Figure]:
    return drawing.figures(folder.points)


def verdicts(folder: RunFolder) -> Sequence[Verdict]:
    return [*questions.verdicts(folder.points), *check.verdicts(folder.points)]


def _scaling(curve: str) -> Any:
    """How throughput grows from one GPU on, in words, as simulated for a host like Beyond's."""

    def ours(folder: RunFolder) -> object | None:
        host = multi_gpu.BEYOND_LIKE.name
        found = having(folder.points, figure=9, host=host, curve=curve)
        rates = [p["load"]["throughput_per_s"] for p in found]
        return ", ".join(f"x{rate / rates[0]:.2f}" for rate in rates) if rates else None

    return ours


_WHERE = "Beyond 4.6, Fig. 9"
PUBLISHED = (
    PublishedFigure("medium, CPU: over 1, 2, ... GPUs", "linear", _WHERE, _scaling("medium, CPU")),
    PublishedFigure("medium, GPU", "linear", _WHERE, _scaling("medium, GPU")),
    PublishedFigure("large, GPU", "1 to 2 notable, then marginal", _WHERE, _scaling("large, GPU")),
    PublishedFigure("large, CPU", "minimal change", _WHERE, _scaling("large, CPU")),
    PublishedFigure("inference only", "linear", _WHERE, _scaling(multi_gpu.INFERENCE)),
)

EXPERIMENT = Experiment(
    name="simulate",
    help="the real batcher under virtual time: policies over loads, in seconds instead of hours",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    verdicts=verdicts,
)

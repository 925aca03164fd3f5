"""`beyond-bench load URL`: one load on one server, measured so that overload cannot hide."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from beyond_serve.bench.experiments.experiment import Experiment
from beyond_serve.bench.experiments.load_arguments import add_arguments, load_spec, scenario_of
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.load.breakdown import PARTS
from beyond_serve.bench.load.percentiles import PERCENTILES, SAMPLES_BEYOND
from beyond_serve.bench.load.run import run_load
from beyond_serve.bench.load.scenarios import MINIMUM_S, Metric, Scenario
from beyond_serve.bench.load.spec import LoadProgress
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import Table, number

REQUESTS = "load"


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    """One run, one point, and every request's row."""
    spec = load_spec(given)
    scenario = scenario_of(given)
    reporter.status(f"load on {spec.target.url}")
    result = run_load(spec, lambda progress: _show(progress, reporter))
    metric = None if scenario is None else scenario.metric(result)
    run.add_point(
        {
            "labels": {"arrivals": type(spec.arrivals).__name__},
            "load": result.summary(),
            "spec": spec.describe(),
            "histogram": result.encoded_histogram(),
            "scenario": _scenario_point(scenario, metric),
        }
    )
    if not given.no_requests:
        run.add_requests(REQUESTS, result)


def _scenario_point(scenario: Scenario | None, metric: Metric | None) -> dict[str, object] | None:
    if scenario is None or metric is None:
        return None
    return {
        "name": scenario.name,
        "metric": metric.name,
        "value": metric.value,
        "unit": metric.unit,
        "met": metric.met,
    }


def _show(progress: LoadProgress, reporter: Reporter) -> None:
    parts = [
        f"{progress.offered:,} offered",
        f"{progress.done:,} done",
        f"{progress.in_flight:,} in flight",
    ]
    if progress.p50_ms is not None and progress.p99_ms is not None:
        parts.append(f"p50 {number(progress.p50_ms)} ms, p99 {number(progress.p99_ms)} ms")
    if progress.errors:
        parts.append(f"{progress.errors:,} errors")
    if progress.warming_up:
        parts.append("warming up")
    reporter.progress(progress.elapsed_s, progress.total_s, ", ".join(parts))


def tables(run: RunFolder) -> Sequence[Table]:
    found: list[Table] = []
    for point in run.points:
        load = point["load"]
        found += [_overview(point), _latency(load)]
        if load["stages_ms"]:
            found.append(_stages(load["stages_ms"]))
        if load["errors"]:
            found.append(Table("Errors", ("kind", "requests"), list(load["errors"].items())))
    return found


def _overview(point: dict[str, Any]) -> Table:
    load, spec = point["load"], point["spec"]
    rows: list[tuple[str, object]] = [
        ("offered, requests/s", load["offered_per_s"]),
        ("throughput, answers/s", load["throughput_per_s"]),
        ("requests measured", load["requests"]),
        ("measured time, s", load["duration_s"]),
        ("errors, %", 100 * load["error_rate"]),
        ("sent, MB", load["bytes_sent"] / 1e6),
        ("received, MB", load["bytes_received"] / 1e6),
        ("generator's CPU, % of a core", 100 * load["generator_cpu"]),
        ("generator's wait for a core, %", 100 * load["generator_waiting"]),
        ("generator's lateness p99, ms", load["lateness_ms"]["p99"]),
    ]
    if load["slo_ms"] is not None:
        rows.insert(2, (f"goodput, answers/s within {load['slo_ms']:g} ms", load["goodput_per_s"]))
    if load["littles_law_error"] is not None:
        rows.append(("Little's law, off by %", 100 * load["littles_law_error"]))
    if load["batch_size_mean"] is not None:
        rows.append(("mean batch size", load["batch_size_mean"]))
    notes = [f"VOID: {reason}" for reason in load["void"]]
    if load["simulated"]:
        notes.append("simulated: the model's times are made up")
    if point["scenario"] is not None:
        rows.append(
            (f"{point['scenario']['metric']}, {point['scenario']['unit']}", point["scenario"]["value"])
        )
        notes += _scenario_notes(point["scenario"], load)
    return Table(f"{point['labels']['arrivals']} on {spec['url']}", ("", "measured"), rows, notes)


def _scenario_notes(scenario: dict[str, Any], load: dict[str, Any]) -> list[str]:
    notes = [f"MLPerf's {scenario['name']} scenario by its rules' table of scenarios; no MLPerf result"]
    if load["duration_s"] < MINIMUM_S:
        notes.append(f"MLPerf asks for {MINIMUM_S:g} s")
    if scenario["met"] is not None:
        notes.append(f"{'at least' if scenario['met'] else 'fewer than'} 99 % kept {load['slo_ms']:g} ms")
    return notes


def _latency(load: dict[str, Any]) -> Table:
    columns = ("mean", *PERCENTILES, "max")
    rows = [
        (name, *(load[key][column] for column in columns))
        for name, key in (("from the schedule", "latency_ms"), ("from the send", "latency_from_send_ms"))
    ]
    return Table(
        "Latency, ms",
        ("", *columns),
        rows,
        [
            "of requests that succeeded; a percentile needs "
            f"{SAMPLES_BEYOND} of them beyond it, and is left out otherwise",
            "from the send hides what requests wait for while the generator or a closed loop holds them back",
        ],
    )


def _stages(stages: dict[str, dict[str, float]]) -> Table:
    columns = [name for name in ("mean", "p50", "p95", "p99") if name in stages]
    totals = {name: sum(stages[name].values()) for name in columns}
    rows = [(part, *(_with_share(stages[name][part], totals[name]) for name in columns)) for part in PARTS]
    return Table(
        "Where the time went, ms and share",
        ("part", *(_around(name) for name in columns)),
        [*rows, ("latency", *(_with_share(totals[name], totals[name]) for name in columns))],
        [
            "late: schedule to send; network: what the client waited beyond the server's own total",
            "around p99: means over the requests ranked 98.5 % to 99.5 % by latency; p50 and p95 alike",
        ],
    )


def _with_share(part: float, total: float) -> str:
    return f"{part:.3f}  {100 * part / total if total else 0:3.0f} %"


def _around(name: str) -> str:
    return name if name == "mean" else f"around {name}"


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.percentiles import Latencies, percentile_curves
    from beyond_serve.bench.runs.plots.stages import StageBar, stage_bars

    figures = []
    for point in run.points:
        load = point["load"]
        figures.append(
            percentile_curves(
                "latency",
                "Latency from the schedule, and from the send",
                [
                    Latencies.from_summary("from the schedule", load["latency_ms"]),
                    Latencies.from_summary("from the send", load["latency_from_send_ms"], thin=True),
                ],
            )
        )
        if load["stages_ms"]:
            bars = [
                StageBar(_around(name), stages, void=bool(load["void"]))
                for name, stages in load["stages_ms"].items()
            ]
            figures.append(stage_bars("stages", "Where the time went", bars))
    return figures


def verdicts(run: RunFolder) -> Sequence[Verdict]:
    """A void run is no measurement, which the exit code says too."""
    return [
        Verdict(
            "the figures are the server's",
            "a valid run",
            "; ".join(point["load"]["void"]) or "valid",
            not point["load"]["void"],
        )
        for point in run.points
    ]


EXPERIMENT = Experiment(
    name="load",
    help="one load on any server: closed loop, constant, Poisson, bursts, ramp, replay, MLPerf's four",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    verdicts=verdicts,
)

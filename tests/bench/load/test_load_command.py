"""`beyond-bench load`: its flags, its tables, and what it says to bad input."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.experiments import load
from beyond_serve.bench.experiments.load_arguments import add_arguments, load_spec, read_recording
from beyond_serve.bench.load.arrivals import Bursts, ClosedLoop, ConstantRate, Poisson, Ramp, Replay
from beyond_serve.bench.load.collect import judged
from beyond_serve.bench.load.scenarios import SCENARIOS, query_latencies_ns
from beyond_serve.bench.load.spec import LoadSpec
from beyond_serve.bench.main import main
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError
from tests.bench.load.tables import MS, STAGE_COUNT, spec, table

URL = "http://127.0.0.1:1"


def parsed(*arguments: str) -> LoadSpec:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    add_arguments(parser)
    return load_spec(parser.parse_args([URL, "--images", "small", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "arrivals"),
    [
        ((), ClosedLoop(16)),
        (("--concurrency", "3"), ClosedLoop(3)),
        (("--rate", "50"), ConstantRate(50)),
        (("--poisson", "50"), Poisson(50)),
        (("--burst", "32/0.5"), Bursts(32, 0.5)),
        (("--ramp", "10:500"), Ramp(10, 500)),
        (("--scenario", "SingleStream"), ClosedLoop(1)),
        (("--scenario", "MultiStream"), ClosedLoop(1, 8)),
        (("--scenario", "Server", "--rate", "20"), Poisson(20)),
        (("--scenario", "Offline", "--concurrency", "9"), ClosedLoop(9)),
    ],
)
def test_each_load_has_its_flag(arguments: tuple[str, ...], arrivals: object) -> None:
    assert parsed(*arguments).arrivals == arrivals


def test_defaults_are_sensible_and_quick_is_quick() -> None:
    assert (parsed().duration_s, parsed().warmup_s) == (20.0, 2.0)
    assert (parsed("--quick").duration_s, parsed("--quick").warmup_s) == (5.0, 1.0)
    counted = parsed("--count", "50")
    assert (counted.duration_s, counted.count) == (None, 50)


def test_scenarios_bring_their_length_and_bound() -> None:
    assert parsed("--scenario", "Offline").count == 24_576
    assert parsed("--scenario", "Offline", "--duration", "3").count is None
    assert parsed("--scenario", "Server", "--rate", "9").slo_ms == 15.0
    assert parsed("--scenario", "Server", "--rate", "9", "--slo", "99").slo_ms == 99.0


def test_a_recording_is_replayed_whole(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.txt"
    file.write_text("# from a log\n100.5\n\n100.75,GET\n103.5 x\n")
    given = parsed("--replay", str(file))
    assert given.arrivals == Replay((0.0, 0.25, 3.0))
    assert (given.warmup_s, given.duration_s, given.count) == (0.0, None, None)


def test_tensors_go_over_the_inference_protocol() -> None:
    assert parsed("--payload", "tensor").target.protocol == "v2-http"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "5", "--poisson", "5"),
        ("--scenario", "Server"),
        ("--scenario", "Offline", "--burst", "3/1"),
        ("--burst", "many"),
        ("--ramp", "10"),
        ("--replay", "no/such/file"),
        ("--cores", "one"),
        ("--cores", "4096"),
        ("--rate", "0"),
        ("--images", "no/such/folder"),
        ("--protocol", "v2-grpc"),
    ],
)
def test_flags_that_cannot_be_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        parsed(*arguments)


@pytest.mark.parametrize("text", ["soon\n", "", "3\n2\n1\n"])
def test_recordings_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(ConfigError):
        read_recording(str(tmp_path / "r"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((URL,), "cannot reach http://127.0.0.1:1: Connection refused"),
        (("127.0.0.1:1",), "cannot use the URL"),
        ((URL, "--images", "nowhere"), "no image set and no folder is named 'nowhere'"),
        ((URL, "--images", "."), "holds no images"),
    ],
)
def test_bad_input_is_a_line_and_exit_code_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SystemExit) as caught:
        main(["load", *arguments, "--out", str(tmp_path / "runs")])
    assert caught.value.code == 2
    text = " ".join(capsys.readouterr().out.split())
    assert said in text
    assert "Traceback" not in text


def point(given: LoadSpec, count: int = 600, **extra: object) -> dict[str, object]:
    at = np.arange(count) * MS
    stages = np.full((count, STAGE_COUNT), 10.0)
    result = judged(given, table(at, at, at + 2 * MS, stages_us=stages), ("",), thread_cpu=(0.2,))
    return {
        "labels": {"arrivals": "ConstantRate"},
        "load": result.summary(),
        "spec": given.describe(),
        "histogram": result.encoded_histogram(),
        "scenario": None,
        **extra,
    }


def test_tables_plots_and_verdicts_are_drawn_from_the_point(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "load", {}, 0)
    run.add_point(point(spec(ConstantRate(1000), duration_s=0.6, slo_ms=5.0)))
    overview, latency, stages = load.tables(RunFolder.open(run.path))
    assert ("throughput, answers/s", pytest.approx(1000, rel=0.01)) in overview.rows
    assert latency.rows[0][1] == 2.0
    assert [row[0] for row in stages.rows][-2:] == ["network", "latency"]
    assert [figure.name for figure in load.plots(run)] == ["latency", "stages"]
    assert [verdict.met for verdict in load.verdicts(run)] == [True]


def test_a_void_run_says_so_and_is_not_met(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "load", {}, 0)
    run.add_point(point(spec(ConstantRate(1000), duration_s=0.6), count=0))
    assert any("VOID" in note for note in load.tables(run)[0].notes)
    assert [verdict.met for verdict in load.verdicts(run)] == [False]
    assert load.plots(run)


def test_a_run_without_a_point_has_nothing_to_draw(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "load", {}, 0)
    assert (load.tables(run), load.plots(run), load.verdicts(run)) == ([], [], [])


def test_single_stream_is_the_90th_percentile() -> None:
    at = np.arange(1000) * MS
    latency = np.arange(1, 1001) * 1000
    given = spec(ClosedLoop(1), duration_s=2.0)
    result = judged(given, table(at, at, at + latency), ("",), thread_cpu=(0.1,))
    metric = SCENARIOS["SingleStream"].metric(result)
    assert metric.value == pytest.approx(0.9, rel=0.01)
    assert metric.unit == "ms"


def test_multi_stream_counts_a_query_by_its_slowest_sample() -> None:
    queries = np.repeat(np.arange(600) * 10 * MS, 8)
    latency = np.tile(np.array([1, 2, 3, 4, 5, 6, 7, 9]) * MS, 600)
    given = spec(ClosedLoop(1, 8), duration_s=10.0)
    result = judged(given, table(queries, queries, queries + latency), ("",), thread_cpu=(0.1,))
    assert set(query_latencies_ns(result).tolist()) == {9 * MS}
    assert SCENARIOS["MultiStream"].metric(result).value == 9.0


@pytest.mark.parametrize(("late", "met"), [(5, True), (20, False)])
def test_the_server_scenario_asks_for_99_percent_within_the_bound(late: int, met: bool) -> None:
    at = np.arange(1000) * MS
    latency = np.where(np.arange(1000) < late, 50 * MS, MS)
    given = spec(ConstantRate(1000), duration_s=1.0, slo_ms=15.0)
    result = judged(given, table(at, at, at + latency), ("",), thread_cpu=(0.1,))
    metric = SCENARIOS["Server"].metric(result)
    assert metric.met is met
    assert metric.value == pytest.approx(1000)

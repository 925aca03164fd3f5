"""The trace file is what Perfetto and Triton's reader expect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beyond_serve.batching import STAGES, BatchTiming, Trace
from beyond_serve.errors import ConfigError
from beyond_serve.server.trace_file import open_trace_file


def trace(start: int, end: int) -> Trace:
    trace = Trace(start, start + 10)
    trace.admitted = start + 20
    timing = trace.timing = BatchTiming(2, "full")
    timing.started, timing.copied_in, timing.inferred = start + 30, start + 40, start + 50
    timing.copied_out, timing.postprocessed = start + 60, start + 70
    trace.replied = end
    timing.instance = "m-0"
    return trace


def written(tmp_path: Path, trace_format: str, traces: list[Trace]) -> list[dict]:
    path = tmp_path / "trace.json"
    file = open_trace_file(str(path), trace_format)
    for one in traces:
        file.record("m", one, "ok")
    file.close()
    return json.loads(path.read_text())


def test_chrome_spans_of_a_request_lie_inside_it(tmp_path: Path) -> None:
    request, *stages = written(tmp_path, "chrome", [trace(1_000_000, 2_000_000)])
    assert request["name"] == "m #1"
    assert request["args"]["release"] == "full"
    assert request["dur"] == 1000.0
    assert {stage["name"] for stage in stages} <= set(STAGES)
    assert sum(stage["dur"] for stage in stages) == pytest.approx(request["dur"])
    for stage in stages:
        assert request["ts"] <= stage["ts"]
        assert stage["ts"] + stage["dur"] <= request["ts"] + request["dur"] + 1e-6


def test_requests_in_flight_together_have_tracks_of_their_own(tmp_path: Path) -> None:
    spans = [(1000, 2000), (1500, 3000), (2000, 2500)]
    events = [
        e for e in written(tmp_path, "chrome", [trace(*span) for span in spans]) if e["cat"] == "request"
    ]
    assert [event["tid"] for event in events] == [1, 2, 1]


def test_tritons_reader_finds_its_names(tmp_path: Path) -> None:
    head, stamps = written(tmp_path, "triton", [trace(1_000_000, 2_000_000)])
    assert head == {"id": 1, "model_name": "m", "model_version": 1}
    named = {stamp["name"]: stamp["ns"] for stamp in stamps["timestamps"]}
    assert named["HTTP_RECV_START"] == 1_000_000
    assert named["COMPUTE_START"] == 1_000_030
    assert named["COMPUTE_INPUT_END"] == 1_000_040
    assert named["HTTP_SEND_END"] == 2_000_000
    assert list(named.values()) == sorted(named.values())


def test_an_unused_trace_file_is_an_empty_list(tmp_path: Path) -> None:
    assert written(tmp_path, "chrome", []) == []


def test_many_records_are_all_written_in_order(tmp_path: Path) -> None:
    heads = written(tmp_path, "triton", [trace(n * 1000 + 1, n * 1000 + 900) for n in range(1000)])[::2]
    assert [head["id"] for head in heads] == list(range(1, 1001))


def test_an_unwritable_path_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write the trace file"):
        open_trace_file(str(tmp_path / "no" / "trace.json"), "chrome")


def test_a_disk_that_fills_ends_the_file_and_not_the_server(caplog: pytest.LogCaptureFixture) -> None:
    file = open_trace_file("/dev/full", "chrome")
    for n in range(1000):
        file.record("m", trace(n, n + 900), "ok")
    file.close()
    assert "cannot be written any more" in caplog.text

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.errors import BeyondError, EngineError
from beyond_serve.server import otel
from beyond_serve.server.call import Call
from beyond_serve.server.caller import Caller
from beyond_serve.server.otel import SpanSink, open_span_sink

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
PARENT_ID = 0x00F067AA0BA902B7
SAMPLED = f"00-{TRACE_ID:032x}-{PARENT_ID:016x}-01"


class Spans:
    """A sink over an exporter in memory."""

    def __init__(self, most_waiting: int = 100) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink = SpanSink(self.provider, owned=False, most_waiting=most_waiting)

    def of(self, *calls: Call) -> list[Any]:
        """The spans of these calls, server's last."""
        self.sink.start()
        for call in calls:
            self.sink.record("m", call)
        self.sink.close()
        return list(self.exporter.get_finished_spans())


class Observer:
    def call_replied(self, call: Call) -> None: ...

    def call_cancelled(self, call: Call) -> None: ...


def finished(
    traceparent: str = SAMPLED,
    *,
    tracestate: str = "",
    rows: int = 1,
    error: BeyondError | None = None,
    fault: bool = False,
) -> Call:
    """A call of which each stage but copy_in and copy_out took 100 ns and more."""
    call = Call(lambda _: None, Observer())
    call.expect([Request(b"", "key", Trace(1000, 1100), call.request_done) for _ in range(rows)])
    batch = Batch(call.requests, "key", "full")
    batch.start("m-0", simulated=True)
    for number, request in enumerate(call.requests):
        trace = request.trace
        trace.admitted, trace.decode_started, trace.decoded, trace.transformed = 1200, 1300, 1400, 1500
        trace.transformed += number
    timing = batch.timing
    timing.started, timing.copied_in, timing.inferred = 1600, 1600, 1900
    timing.copied_out, timing.postprocessed = 1900, 2000
    batch.error, batch.outputs = error, object()
    batch.finish()
    attributes = {"http.response.status_code": 500 if fault else 200}
    call.replied(2100, Caller(traceparent, tracestate, "POST /predict", attributes, fault))
    return call


def test_a_call_is_a_server_span_under_the_callers() -> None:
    before = time.time_ns() - time.monotonic_ns()
    spans = Spans()
    *_, server = spans.of(finished(tracestate="vendor=1"))
    after = time.time_ns() - time.monotonic_ns()

    assert (server.name, server.kind) == ("POST /predict", SpanKind.SERVER)
    assert server.context.trace_id == TRACE_ID
    assert (server.parent.span_id, server.parent.is_remote) == (PARENT_ID, True)
    assert server.context.trace_state.get("vendor") == "1"
    assert server.status.status_code is StatusCode.UNSET
    assert before - 10**6 <= server.start_time - 1000 <= after + 10**6
    assert server.end_time - server.start_time == 1100
    assert dict(server.attributes) == {
        "http.response.status_code": 200,
        "beyond_serve.model": "m",
        "beyond_serve.rows": 1,
        "beyond_serve.batch.size": 1,
        "beyond_serve.batch.release": "full",
        "beyond_serve.instance": "m-0",
        "beyond_serve.simulated": True,
    }


def test_each_stage_that_ran_is_a_child_and_they_meet_without_gaps() -> None:
    *stages, server = Spans().of(finished())

    assert [span.name for span in stages] == [
        *("receive", "admit", "decode_wait", "decode", "transform", "batch_wait"),
        *("infer", "postprocess", "reply"),
    ]
    assert all(span.parent.span_id == server.context.span_id for span in stages)
    assert all(span.context.trace_id == TRACE_ID for span in stages)
    assert stages[0].start_time == server.start_time
    assert stages[-1].end_time == server.end_time
    for one, following in pairwise(stages):
        assert one.end_time == following.start_time


def test_all_calls_share_one_offset() -> None:
    *_, first, second = [span for span in Spans().of(finished(), finished()) if span.kind is SpanKind.SERVER]

    assert first.start_time == second.start_time


def test_the_stages_are_one_rows_of_several() -> None:
    *stages, server = Spans().of(finished(rows=3))

    assert len(stages) == 9
    assert server.attributes["beyond_serve.rows"] == 3


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        SAMPLED[:-1],
        SAMPLED.upper(),
        "ff" + SAMPLED[2:],
        SAMPLED + "-more",
        f"{SAMPLED}, {SAMPLED}",
        f"00-{0:032x}-{PARENT_ID:016x}-01",
        f"00-{TRACE_ID:032x}-{0:016x}-01",
        "é" * 55,
    ],
)
def test_what_is_no_traceparent_is_ignored(traceparent: str) -> None:
    assert Spans().of(finished(traceparent)) == []


def test_what_the_caller_does_not_sample_is_not_recorded() -> None:
    assert Spans().of(finished(SAMPLED[:-2] + "00")) == []


def test_a_fault_of_the_server_is_the_spans_error() -> None:
    *_, server = Spans().of(finished(error=EngineError("broke"), fault=True))

    assert (server.status.status_code, server.status.description) == (StatusCode.ERROR, "engine")
    assert server.attributes["error.type"] == "engine"


def test_a_fault_of_the_client_is_not() -> None:
    *_, server = Spans().of(finished(error=EngineError("broke")))

    assert server.status.status_code is StatusCode.UNSET


def test_what_comes_faster_than_spans_are_made_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    spans = Spans(most_waiting=2)
    for _ in range(5):
        spans.sink.record("m", finished())
    spans.sink.start()
    spans.sink.close()

    servers = [s for s in spans.exporter.get_finished_spans() if s.kind is SpanKind.SERVER]
    assert len(servers) == 2
    assert "3 calls have no OpenTelemetry spans" in caplog.text


def test_a_failure_of_one_call_is_not_the_next_ones(caplog: pytest.LogCaptureFixture) -> None:
    broken = finished()
    broken.requests.clear()

    assert len(Spans().of(broken, finished())) == 10
    assert "could not be made" in caplog.text


class TestOpen:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (*otel._ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
            monkeypatch.delenv(name, raising=False)

    def test_off_without_configuration(self) -> None:
        assert open_span_sink() is None

    def test_a_provider_that_is_set_is_used_and_left_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        spans = Spans()
        monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: spans.provider)
        sink = open_span_sink()
        assert sink is not None
        sink.record("m", finished())
        sink.close()

        assert len(spans.exporter.get_finished_spans()) == 10
        assert not spans.exporter._stopped

    def test_an_endpoint_makes_an_exporter_which_is_shut_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        exporter = InMemorySpanExporter()
        monkeypatch.setattr(otel, "_exporter", lambda: exporter)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        sink = open_span_sink()
        assert sink is not None
        sink.record("m", finished())
        sink.close()

        spans = exporter.get_finished_spans()
        assert len(spans) == 10
        assert spans[0].resource.attributes["service.name"] == "beyond-serve"
        assert exporter._stopped
        assert "otel-spans" not in [thread.name for thread in threading.enumerate()]

    @pytest.mark.parametrize(
        ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
    )
    def test_switched_off(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv(name, value)

        assert open_span_sink() is None

    def test_without_the_extra_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

        assert open_span_sink() is None
        assert "beyond-serve[otel]" in caplog.text

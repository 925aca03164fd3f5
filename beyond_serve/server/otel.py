"""OpenTelemetry spans of calls that came with a `traceparent`. Needs the extra `otel`; off without it.

The event loop only puts a finished call's traces into a queue; a thread makes the spans, about ten of a
call, with the times that the trace has. What becomes of them is OpenTelemetry's business, configured by
its own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME …).
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from itertools import pairwise
from typing import Any, Final, NamedTuple

from beyond_serve import __version__
from beyond_serve.batching import STAGES, Trace
from beyond_serve.server.call import Call
from beyond_serve.server.caller import Caller

log = logging.getLogger(__name__)

# As many as OpenTelemetry's own batch processor holds by default; what comes beyond is dropped.
MOST_WAITING: Final = 2048

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class _Finished(NamedTuple):
    """A call that was answered, without its images and outputs, which must not wait in a queue."""

    model: str
    traces: list[Trace]
    error_code: str | None
    caller: Caller


class SpanSink:
    """Makes spans of calls. Owns its thread, and `provider` if `owned`.

    Args:
        provider: an OpenTelemetry TracerProvider.
        owned: `close` shuts it down.
    """

    def __init__(self, provider: Any, *, owned: bool, most_waiting: int = MOST_WAITING) -> None:
        self._provider = provider
        self._owned = owned
        self._most_waiting = most_waiting
        self._dropped = 0
        # Fixed once, so that a clock that is set does not tear a trace apart.
        self._writer = _SpanWriter(provider, time.time_ns() - time.monotonic_ns())
        self._queue: queue.SimpleQueue[_Finished | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="otel-spans", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def record(self, model: str, call: Call) -> None:
        """Take a call that was answered and has a `caller`; on the event loop."""
        assert call.caller is not None
        if self._queue.qsize() >= self._most_waiting:
            if not self._dropped:
                log.warning("OpenTelemetry spans are made slower than calls end; some are dropped")
            self._dropped += 1
            return
        error = call.error
        traces = [request.trace for request in call.requests]
        self._queue.put(_Finished(model, traces, None if error is None else error.code, call.caller))

    def close(self) -> None:
        """Make the spans that are left and export them. Blocks, as long as the exporter's time-out."""
        self._queue.put(None)
        self._thread.join()
        if self._dropped:
            log.warning("%d calls have no OpenTelemetry spans", self._dropped)
        if self._owned:
            self._provider.shutdown()

    def _main(self) -> None:
        while (finished := self._queue.get()) is not None:
            try:
                self._writer.write(finished)
            except Exception:
                # A processor or sampler of somebody else's: its failure is not the next call's.
                log.exception("OpenTelemetry spans of a call could not be made")


class _SpanWriter:
    """Turns a finished call into a span of the server's kind with one child for each stage that ran.

    Args:
        offset_ns: from `time.monotonic_ns` to the time of day.
    """

    def __init__(self, provider: Any, offset_ns: int) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api = trace
        self._no_context = Context()
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("beyond_serve", __version__)
        self._offset_ns = offset_ns

    def write(self, finished: _Finished) -> None:
        """Nothing is written if the `traceparent` is malformed, nor if the sampler does not want it;
        the default sampler wants what the caller's flag says is sampled."""
        caller = finished.caller
        carrier = {"traceparent": caller.traceparent}
        if caller.tracestate:
            carrier["tracestate"] = caller.tracestate
        context = self._propagator.extract(carrier, self._no_context)
        if not self._api.get_current_span(context).get_span_context().is_valid:
            return
        # The stages of the slowest of several images, as in every other place that shows one trace.
        trace = max(finished.traces, key=lambda trace: trace.borders()[-2])
        borders = [border + self._offset_ns for border in trace.borders()]
        span = self._tracer.start_span(
            caller.span,
            context,
            kind=self._api.SpanKind.SERVER,
            attributes={**caller.attributes, **_attributes(finished, trace)},
            start_time=borders[0],
        )
        if not span.is_recording():
            return
        if caller.fault:
            span.set_status(self._api.StatusCode.ERROR, finished.error_code)
        inside = self._api.set_span_in_context(span, self._no_context)
        for stage, (begin, end) in zip(STAGES, pairwise(borders), strict=True):
            if end > begin:
                self._tracer.start_span(stage, inside, start_time=begin).end(end)
        span.end(borders[-1])


def _attributes(finished: _Finished, trace: Trace) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "beyond_serve.model": finished.model,
        "beyond_serve.rows": len(finished.traces),
    }
    if trace.timing is not None:
        attributes["beyond_serve.batch.size"] = trace.timing.size
        attributes["beyond_serve.batch.release"] = trace.timing.release
        attributes["beyond_serve.instance"] = trace.timing.instance
        attributes["beyond_serve.simulated"] = trace.timing.simulated
    if finished.error_code is not None:
        attributes["error.type"] = finished.error_code
    return attributes


def open_span_sink() -> SpanSink | None:
    """A started sink, if OpenTelemetry is installed and configured: a provider is set already, or the
    environment names an OTLP endpoint. Otherwise None, and nothing of OpenTelemetry is imported.
    """
    asked = any(os.environ.get(name) for name in _ENDPOINTS)
    # Whoever set a provider has imported the API.
    if _is_switched_off() or not (asked or "opentelemetry.trace" in sys.modules):
        return None
    try:
        from opentelemetry import trace

        provider: Any = trace.get_tracer_provider()
        owned = isinstance(provider, trace.ProxyTracerProvider)
        if owned:
            if not asked:
                return None
            provider = _exporting_provider()
    except ImportError as error:
        log.warning("no OpenTelemetry spans: %s; pip install 'beyond-serve[otel]'", error)
        return None
    sink = SpanSink(provider, owned=owned)
    sink.start()
    return sink


def _is_switched_off() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or os.environ.get("OTEL_TRACES_EXPORTER", "").strip() == "none"


def _exporting_provider() -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "beyond-serve"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    return provider


def _exporter() -> Any:
    """OTLP over gRPC, or over HTTP if the environment says so and that exporter is installed."""
    named = (f"OTEL_EXPORTER_OTLP_{what}PROTOCOL" for what in ("TRACES_", ""))
    protocol = next(filter(None, map(os.environ.get, named)), "grpc")
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()

"""Who hears of finished requests beside the metrics; called on the event loop, and must not hold it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from beyond_serve.batching import Trace

if TYPE_CHECKING:
    from beyond_serve.server.call import Call


class TraceSink(Protocol):
    """Takes every request's finished trace: the trace file."""

    def record(self, model: str, trace: Trace, outcome: str) -> None: ...


class CallSink(Protocol):
    """Takes the calls that came with a `traceparent`: OpenTelemetry."""

    def record(self, model: str, call: Call) -> None: ...

"""The interface's description says what answers hold."""

from __future__ import annotations

from beyond_serve.batching import BatchTiming, Trace
from beyond_serve.server.openapi import openapi_document


def test_the_traces_schema_has_every_field_of_a_trace() -> None:
    trace = Trace(1, 2)
    trace.timing = BatchTiming(1, "retry")
    trace.rung = "fast"
    said = trace.as_dict(9)
    fields = openapi_document("1")["components"]["schemas"]["Trace"]["properties"]
    assert fields.keys() == said.keys()
    batch = fields["batch"]["properties"]
    assert batch.keys() == said["batch"].keys()  # type: ignore[attr-defined]
    assert batch["release"]["enum"] == ["full", "delay", "idle", "deadline", "retry"]

"""Writes what became of each request into its row."""

from __future__ import annotations

import struct
from typing import Any

import orjson

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.rows import TRACE, Rows

_START, _END = b'"trace":{', b'"simulated":'


class Recorder:
    """The writing side of `Rows`."""

    def __init__(self, rows: Rows, *, traced: bool) -> None:
        self._traced = traced
        self._scheduled, self._sent, self._received = rows.scheduled, rows.sent, rows.received
        self._bytes_in, self._status, self._error = rows.bytes_in, rows.status, rows.error
        self._traces = rows.traces

    def leaves(self, row: int, scheduled_ns: int) -> None:
        """A request's time has come. `sent` says when it left."""
        self._scheduled[row] = scheduled_ns

    def sent(self, row: int, sent_ns: int) -> None:
        self._sent[row] = sent_ns

    def ended(
        self, row: int, received_ns: int, status: int, kind: int, bytes_in: int, document: bytes | None
    ) -> None:
        """The row is whole after this."""
        self._status[row] = status
        self._error[row] = kind
        self._bytes_in[row] = bytes_in
        if document is not None and self._traced and (trace := find_trace(document)) is not None:
            _write_trace(self._traces, row, trace)
        self._received[row] = received_ns


def find_trace(document: bytes) -> dict[str, Any] | None:
    """The trace in an answer of our server, wherever its JSON stands; None if there is none.

    Only the trace is parsed, not the answer around it, which may hold megabytes of tensors.
    """
    start = document.rfind(_START)
    if start < 0:
        start = 0 if document.startswith(b'{"total_us"') else -1
    else:
        start += len(_START) - 1
    end = document.find(b"}", document.find(_END, start)) if start >= 0 else -1
    if end < 0:
        return None
    try:
        trace = orjson.loads(document[start : end + 1])
    except orjson.JSONDecodeError:
        return None
    return trace if isinstance(trace, dict) else None


def _write_trace(memory: memoryview, row: int, trace: dict[str, Any]) -> None:
    """Leaves the row without a trace if it is not one of ours."""
    try:
        stages = trace["stages_us"]
        values = [stages[name] for name in STAGES]
        batch = trace["batch"]["size"]
        TRACE.pack_into(memory, row * TRACE.size, 1.0, batch, trace["simulated"], trace["total_us"], *values)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error):
        return

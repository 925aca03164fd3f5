"""Every request's trace in a file: Chrome's format, which Perfetto opens, or Triton's.

The event loop only appends to a list; a thread formats and writes. A file that cannot be written
any more is given up with one line in the log: serving goes on.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TextIO

import orjson

from beyond_serve.batching import STAGES, BatchTiming, Trace
from beyond_serve.errors import ConfigError

log = logging.getLogger(__name__)

_HAND_OVER_AT = 256


class Record(NamedTuple):
    """One finished request."""

    id: int
    model: str
    outcome: str
    borders: tuple[int, ...]
    batch: BatchTiming | None


Formatter = Callable[[Iterable[Record]], Iterable[dict[str, object]]]


class TraceFile:
    """Owns the file and its thread.

    Raises (constructor):
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: str, formatter: Formatter) -> None:
        try:
            self._file: TextIO = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed by the thread
        except OSError as error:
            raise ConfigError(
                f"cannot write the trace file '{path}': {error.strerror}", "choose another --trace-file"
            ) from error
        self._file.write("[")
        self._separator = "\n"
        self._formatter = formatter
        self._ids = itertools.count(1)
        self._records: list[Record] = []
        self._queue: queue.SimpleQueue[list[Record] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="trace-file", daemon=True)
        self._thread.start()

    def record(self, model: str, trace: Trace, outcome: str) -> None:
        """Take a finished trace; on the event loop."""
        self._records.append(Record(next(self._ids), model, outcome, trace.borders(), trace.timing))
        if len(self._records) >= _HAND_OVER_AT:
            self.flush()

    def flush(self) -> None:
        """Hand what was recorded to the thread. Call it now and then, so that the file is fresh."""
        if self._records:
            self._queue.put(self._records)
            self._records = []

    def close(self) -> None:
        """Write the rest and end the list. Blocks until it is on its way to the disk."""
        self.flush()
        self._queue.put(None)
        self._thread.join()

    def _main(self) -> None:
        try:
            while (records := self._queue.get()) is not None:
                self._write(records)
            self._file.write("\n]\n")
            self._file.close()
        except OSError as error:
            log.error("the trace file cannot be written any more (%s); tracing to it ends", error.strerror)
            with contextlib.suppress(OSError):
                self._file.close()
            while self._queue.get() is not None:
                pass

    def _write(self, records: list[Record]) -> None:
        for event in self._formatter(records):
            self._file.write(self._separator)
            self._file.write(orjson.dumps(event).decode())
            self._separator = ",\n"
        self._file.flush()


class ChromeFormat:
    """Trace Event Format, complete events. One track per request in flight, so that none overlap.

    State: when each track becomes free.
    """

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self._tracks = 0

    def __call__(self, records: Iterable[Record]) -> Iterable[dict[str, object]]:
        for record in sorted(records, key=lambda r: r.borders[0]):
            track = self._track(record.borders[0], record.borders[-1])
            yield self._span(
                record, f"{record.model} #{record.id}", record.borders[0], record.borders[-1], track
            )
            for stage, begin, end in zip(STAGES, record.borders, record.borders[1:], strict=False):
                if end > begin:
                    yield self._span(record, stage, begin, end, track)

    def _track(self, begin: int, end: int) -> int:
        if self._free and self._free[0][0] <= begin:
            track = heapq.heappop(self._free)[1]
        else:
            self._tracks += 1
            track = self._tracks
        heapq.heappush(self._free, (end, track))
        return track

    @staticmethod
    def _span(record: Record, name: str, begin: int, end: int, track: int) -> dict[str, object]:
        event: dict[str, object] = {
            "name": name,
            "cat": "request" if "#" in name else "stage",
            "ph": "X",
            "pid": 1,
            "tid": track,
            "ts": begin / 1000,
            "dur": (end - begin) / 1000,
        }
        if "#" in name:
            event["args"] = {"outcome": record.outcome, **_batch_arguments(record.batch)}
        return event


def _batch_arguments(batch: BatchTiming | None) -> dict[str, object]:
    if batch is None:
        return {}
    return {
        "batch_size": batch.size,
        "release": batch.release,
        "instance": batch.instance,
        "simulated": batch.simulated,
    }


def triton_format(records: Iterable[Record]) -> Iterable[dict[str, object]]:
    """Triton's trace file, as its trace_summary tool reads it (server/docs/user_guide/trace.md).

    QUEUE_START is the end of admission, so its queue holds our decode_wait … batch_wait.
    """
    for record in records:
        yield {"id": record.id, "model_name": record.model, "model_version": 1}
        border = dict(zip(("started", *STAGES), record.borders, strict=True))
        names = (
            ("HTTP_RECV_START", "started"),
            ("HTTP_RECV_END", "receive"),
            ("REQUEST_START", "receive"),
            ("QUEUE_START", "admit"),
            ("COMPUTE_START", "batch_wait"),
            ("COMPUTE_INPUT_END", "copy_in"),
            ("COMPUTE_OUTPUT_START", "infer"),
            ("COMPUTE_END", "copy_out"),
            ("INFER_RESPONSE_COMPLETE", "postprocess"),
            ("REQUEST_END", "postprocess"),
            ("HTTP_SEND_START", "postprocess"),
            ("HTTP_SEND_END", "reply"),
        )
        yield {"id": record.id, "timestamps": [{"name": name, "ns": border[key]} for name, key in names]}


def open_trace_file(path: str, trace_format: str) -> TraceFile:
    """`trace_format`: "chrome" or "triton"."""
    return TraceFile(path, triton_format if trace_format == "triton" else ChromeFormat())

"""Every request of a run, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.error_kinds import NAMES, ErrorKind, status_name
from beyond_serve.bench.load.rows import Rows


@dataclass(frozen=True, slots=True)
class RequestTable:
    """numpy columns of one length, by scheduled time. Times are int64 nanoseconds from the run's start.

    Attributes:
        scheduled_ns: when the request should have left; in a closed loop, when its predecessor ended.
        sent_ns: when it was handed to a connection, or one began to be opened for it.
        received_ns: when the last byte of the answer was there, or the request was given up.
        status: of HTTP, or of gRPC; 0 is gRPC's OK, and what has no status.
        error: index into the result's `error_names`; 0 is none.
        bytes_in, bytes_out: of HTTP with heads, of gRPC the messages alone.
        image: index into the specification's images.
        worker: which process sent it.
        measured: False for warm-up and for what ended outside of the measured time.
        server_us: the server's own total, float32, NaN without a trace.
        stages_us: float32 [n, stages], in the order of `beyond_serve.batching.STAGES`, NaN without one.
        batch_size: the batch it was in, float32, NaN without a trace.
    """

    scheduled_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    status: NDArray[np.int16]
    error: NDArray[np.int16]
    bytes_in: NDArray[np.int64]
    bytes_out: NDArray[np.int64]
    image: NDArray[np.uint16]
    worker: NDArray[np.uint8]
    measured: NDArray[np.bool_]
    server_us: NDArray[np.float32]
    stages_us: NDArray[np.float32]
    batch_size: NDArray[np.float32]
    simulated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scheduled_ns)

    def where(self, chosen: NDArray[Any]) -> RequestTable:
        """The rows that a mask or an index chooses."""
        return RequestTable(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @property
    def latency_ns(self) -> NDArray[np.int64]:
        """From the schedule."""
        return self.received_ns - self.scheduled_ns

    @property
    def latency_from_send_ns(self) -> NDArray[np.int64]:
        return self.received_ns - self.sent_ns

    @property
    def lateness_ns(self) -> NDArray[np.int64]:
        """The generator's own: how long after its time a request left."""
        return self.sent_ns - self.scheduled_ns


@dataclass(frozen=True, slots=True)
class WorkerRows:
    """One worker's rows, with what is the same for all of them."""

    rows: Rows
    choices: NDArray[np.uint16]
    payload_bytes: Sequence[int]


def read_table(
    workers: Sequence[WorkerRows], start_ns: int, *, grpc: bool
) -> tuple[RequestTable, tuple[str, ...]]:
    """The rows of all workers, and the errors' names. `measured` is True for all of them.

    A request whose end nobody wrote down, because its worker died, counts as unfinished at the time of the
    last thing that is known.
    """
    parts = [_columns(worker, number) for number, worker in enumerate(workers)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lost = columns["received"] == 0
    columns["error"][lost] = ErrorKind.UNFINISHED
    columns["received"][lost] = max(columns["received"].max(initial=0), columns["sent"].max(initial=0))
    # A request that never left its generator left when it was given up.
    columns["sent"] = np.where(columns["sent"] == 0, columns["received"], columns["sent"])
    error, names = _named_errors(columns["error"], columns["status"], grpc=grpc)
    traces = columns["trace"].astype(np.float32)
    traces[columns["trace"][:, 0] == 0] = np.nan
    table = RequestTable(
        scheduled_ns=columns["scheduled"] - start_ns,
        sent_ns=columns["sent"] - start_ns,
        received_ns=columns["received"] - start_ns,
        status=columns["status"],
        error=error,
        bytes_in=columns["bytes_in"],
        bytes_out=columns["bytes_out"],
        image=columns["image"],
        worker=columns["worker"],
        measured=np.ones(len(error), np.bool_),
        server_us=traces[:, 3],
        stages_us=traces[:, 4:],
        batch_size=traces[:, 1],
        simulated=traces[:, 2] == 1,
    )
    return table.where(np.argsort(table.scheduled_ns, kind="stable")), names


def _columns(worker: WorkerRows, number: int) -> dict[str, NDArray[Any]]:
    """Copies, for the rows' memory ends with the worker. Without rows whose time never came."""
    rows = worker.rows
    used = rows.used()
    columns = {
        name: rows.column(name, end=used)
        for name in ("scheduled", "sent", "received", "bytes_in", "status", "error")
    }
    offered = (columns["sent"] > 0) | (columns["received"] > 0)
    image = worker.choices[:used]
    traces = rows.trace_columns(used)
    if len(traces) == 0:
        traces = np.zeros((used, 4 + len(STAGES)), np.float32)
    columns |= {
        "image": image,
        "bytes_out": np.array(worker.payload_bytes, np.int64)[image],
        "worker": np.full(used, number, np.uint8),
        "trace": traces,
    }
    return {name: column[offered] for name, column in columns.items()}


def _named_errors(
    kinds: NDArray[np.int16], statuses: NDArray[np.int16], *, grpc: bool
) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Each row's index into the names; "" is the name of no error."""
    codes = kinds.astype(np.int32) << 16 | np.where(kinds == ErrorKind.STATUS, statuses, 0)
    found, index = np.unique(np.concatenate((np.zeros(1, np.int32), codes)), return_inverse=True)
    names = tuple(_name(int(code) >> 16, int(code) & 0xFFFF, grpc=grpc) for code in found)
    return index[1:].astype(np.int16), names


def _name(kind: int, status: int, *, grpc: bool) -> str:
    if kind == ErrorKind.NONE:
        return ""
    return status_name(status, grpc=grpc) if kind == ErrorKind.STATUS else NAMES[ErrorKind(kind)]

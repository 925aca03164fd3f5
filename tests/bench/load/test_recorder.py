"""Rows and what is written into them."""

from __future__ import annotations

import os

import numpy as np
import orjson
import pytest

from beyond_serve.batching import STAGES
from beyond_serve.bench.load.error_kinds import ErrorKind
from beyond_serve.bench.load.recorder import Recorder, find_trace
from beyond_serve.bench.load.rows import Rows, file_size, shared_file
from beyond_serve.bench.load.table import WorkerRows, read_table

TRACE = {
    "total_us": 1200.5,
    "stages_us": {name: float(number) for number, name in enumerate(STAGES)},
    "residual_us": 0.0,
    "batch": {"size": 8, "release": "full"},
    "instance": "m-0",
    "simulated": True,
}
PREDICT = orjson.dumps({"model": "m", "predictions": [{"label": 'a"trace":{', "index": 1}], "trace": TRACE})
V2 = orjson.dumps({"model_name": "m", "parameters": {"trace": TRACE}, "outputs": []}) + b"\xff}" * 50


def rows_of(capacity: int, *, traced: bool = True) -> Rows:
    descriptor = shared_file(file_size(capacity, traced=traced))
    try:
        return Rows(descriptor, capacity, traced=traced)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("document", [PREDICT, V2, orjson.dumps(TRACE)], ids=["predict", "v2", "trailer"])
def test_a_trace_is_found_wherever_it_stands(document: bytes) -> None:
    assert find_trace(document) == TRACE


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'{"trace":{',
        b'"trace":{"simulated":}',
        b'{"trace":[1]}',
        b'{"trace":{"simulated":false',
        PREDICT[:-40],
    ],
)
def test_what_is_no_trace_is_none(document: bytes) -> None:
    assert find_trace(document) is None


def test_what_was_recorded_is_read_back() -> None:
    rows = rows_of(4)
    recorder = Recorder(rows, traced=True)
    for row in range(3):
        recorder.leaves(row, 1000 + row)
        recorder.sent(row, 2000 + row)
    recorder.ended(0, 5000, 200, ErrorKind.NONE, 77, PREDICT)
    recorder.ended(1, 6000, 503, ErrorKind.STATUS, 5, b"{}")
    table, names = read_table([WorkerRows(rows, np.zeros(4, np.uint16), [40])], 1000, grpc=False)
    assert table.scheduled_ns.tolist() == [0, 1, 2]
    assert table.received_ns.tolist() == [4000, 5000, 5000]
    assert [names[index] for index in table.error] == [
        "",
        "HTTP 503",
        "still in flight when the run was cut short",
    ]
    assert table.stages_us[0].tolist() == list(map(float, range(len(STAGES))))
    assert table.server_us[0] == 1200.5
    assert table.batch_size[0] == 8
    assert table.simulated.tolist() == [True, False, False]
    assert np.isnan(table.stages_us[1:]).all()
    assert table.bytes_in.tolist() == [77, 5, 0]
    assert table.bytes_out.tolist() == [40] * 3


def test_requests_whose_time_never_came_are_no_rows() -> None:
    rows = rows_of(3, traced=False)
    recorder = Recorder(rows, traced=False)
    for row in range(3):
        recorder.leaves(row, 1000)
    recorder.sent(0, 1001)
    recorder.ended(0, 1002, 200, 0, 1, None)
    table, _ = read_table([WorkerRows(rows, np.zeros(3, np.uint16), [1])], 0, grpc=False)
    assert len(table) == 1


def test_a_request_that_never_left_the_generator_left_when_it_was_given_up() -> None:
    rows = rows_of(1, traced=False)
    recorder = Recorder(rows, traced=False)
    recorder.leaves(0, 1000)
    recorder.sent(0, 0)
    recorder.ended(0, 9000, 0, ErrorKind.TIMEOUT, 0, None)
    table, names = read_table([WorkerRows(rows, np.zeros(1, np.uint16), [1])], 0, grpc=False)
    assert table.lateness_ns.tolist() == [8000]
    assert names == ("", "timeout")


def test_rows_of_several_workers_are_in_the_schedules_order() -> None:
    tables = [rows_of(2, traced=False) for _ in range(2)]
    for number, rows in enumerate(tables):
        for row in range(2):
            rows.scheduled[row] = 10 + number + 2 * row
            rows.sent[row] = rows.received[row] = 100
    parts = [WorkerRows(rows, np.zeros(2, np.uint16), [1]) for rows in tables]
    table, _ = read_table(parts, 10, grpc=True)
    assert table.scheduled_ns.tolist() == [0, 1, 2, 3]
    assert table.worker.tolist() == [0, 1, 0, 1]


def test_used_rows_are_counted_in_a_table_far_larger() -> None:
    rows = rows_of(20_000, traced=False)
    for row in range(9000):
        rows.scheduled[row] = 1
    assert rows.used() == 9000
    assert rows.used(8000) == 9000


def test_a_trace_of_another_shape_leaves_the_row_without_one() -> None:
    rows = rows_of(1)
    recorder = Recorder(rows, traced=True)
    recorder.ended(0, 1, 200, 0, 1, b'{"trace":{"stages_us":{},"simulated":true}}')
    assert rows.trace_columns(1)[0, 0] == 0

from __future__ import annotations

import dataclasses

import pytest

from beyond_serve.batching import BatchTiming, Trace
from beyond_serve.client import ClassScore, Prediction, TraceReport
from beyond_serve.client.results import read_trace

CLASSES = (ClassScore("seven", 7, 0.98765), ClassScore(None, 1, 0.01))
TRACE = TraceReport(1234.5, {"decode": 1000.0, "copy_in": 0, "infer": 200.0}, 34.5, 4, "full", "demo-0", True)


def test_a_prediction_reads_well() -> None:
    prediction = Prediction("demo", CLASSES, TRACE)

    assert prediction.top is CLASSES[0]
    assert repr(prediction) == "<Prediction 'demo': seven 0.9877, class 1 0.01, 1234 us>"
    assert str(prediction) == (
        "demo: seven 0.9877, class 1 0.01\n"
        "1234 us (decode 1000, infer 200) in a batch of 4 (full) on demo-0, simulated"
    )


def test_a_trace_in_which_nothing_ran() -> None:
    trace = TraceReport(10, {}, 10, 1, "idle", "m-0", False)

    assert str(trace) == "10 us (no stage ran) in a batch of 1 (idle) on m-0"


def test_a_trace_names_its_rung_if_the_server_has_a_ladder() -> None:
    batch_trace = Trace(0, 1)
    batch_trace.timing = BatchTiming(2, "retry")
    batch_trace.timing.instance = "m-0"
    assert read_trace(batch_trace.as_dict(5)).rung == ""
    batch_trace.rung = "fast"
    trace = read_trace(batch_trace.as_dict(5))
    assert (trace.rung, trace.release) == ("fast", "retry")
    assert str(trace).endswith("in a batch of 2 (retry) on m-0, rung fast")


def test_results_are_frozen_and_hashable() -> None:
    prediction = Prediction("demo", CLASSES, TRACE)

    assert hash(prediction) == hash(Prediction("demo", CLASSES, TRACE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.model = "other"  # type: ignore[misc]


def test_no_class_has_no_top() -> None:
    with pytest.raises(IndexError):
        _ = Prediction("demo", ()).top

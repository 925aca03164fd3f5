from __future__ import annotations

from typing import Any

from beyond_serve.batching import Batch, Request, Trace
from beyond_serve.errors import DeadlineExceededError, EngineError
from beyond_serve.server.oip.statistics import ModelStatistics


def image(received: int, admitted: int, decode_started: int, transformed: int) -> Request:
    trace = Trace(received - 10, received)
    trace.admitted, trace.decode_started, trace.transformed = admitted, decode_started, transformed
    return Request(b"", "image", trace, lambda _request: None)


def tensor(received: int, admitted: int) -> Request:
    trace = Trace(received - 10, received)
    trace.admitted = admitted
    return Request(b"", "tensor", trace, lambda _request: None)


def run(requests: list[Request], error: EngineError | None = None) -> Batch:
    """Started at 1000: 10 in, 200 of inference, 30 out, 4 of postprocessing."""
    batch = Batch(requests, "key", "full")
    batch.start("fake", simulated=False)
    timing = batch.timing
    timing.started, timing.copied_in, timing.inferred = 1000, 1010, 1210
    timing.copied_out, timing.postprocessed = 1240, 1244
    batch.outputs, batch.error = "outputs", error
    batch.finish()
    return batch


def read(statistics: ModelStatistics) -> Any:
    return statistics.as_dict("m", "1")


def test_the_spans_of_a_batch() -> None:
    statistics = ModelStatistics(lambda: 1_700_000_000_123_456_789)
    statistics.record_batch(run([image(100, 105, 125, 185), tensor(200, 210)]))
    entry = read(statistics)
    spans = entry["inference_stats"]
    assert (entry["name"], entry["version"]) == ("m", "1")
    assert entry["last_inference"] == 1_700_000_000_123
    assert (entry["inference_count"], entry["execution_count"]) == (2, 1)
    assert spans["queue"] == {"count": 2, "ns": (20 + 815) + 790}
    assert spans["compute_input"] == {"count": 2, "ns": 60 + 2 * 10}
    assert spans["compute_infer"] == {"count": 2, "ns": 2 * 200}
    assert spans["compute_output"] == {"count": 2, "ns": 2 * 34}
    assert spans["success"] == {"count": 2, "ns": 1144 + 1044}
    assert spans["cache_hit"] == spans["cache_miss"] == spans["fail"] == {"count": 0, "ns": 0}
    assert entry["batch_stats"] == [
        {
            "batch_size": 2,
            "compute_input": {"count": 1, "ns": 10},
            "compute_infer": {"count": 1, "ns": 200},
            "compute_output": {"count": 1, "ns": 34},
        }
    ]


def test_a_success_is_made_up_of_its_spans_after_admission() -> None:
    statistics = ModelStatistics()
    statistics.record_batch(run([image(100, 100, 125, 185)]))
    spans = read(statistics)["inference_stats"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(spans[part]["ns"] for part in parts) == spans["success"]["ns"]


def test_batch_sizes_stand_in_order() -> None:
    statistics = ModelStatistics()
    for size in (3, 1, 3):
        statistics.record_batch(run([tensor(0, 0) for _ in range(size)]))
    entry = read(statistics)
    assert [(size["batch_size"], size["compute_infer"]["count"]) for size in entry["batch_stats"]] == [
        (1, 1),
        (3, 2),
    ]
    assert (entry["inference_count"], entry["execution_count"]) == (7, 3)


def test_who_left_while_the_batch_ran_is_no_success() -> None:
    statistics = ModelStatistics()
    gone, stays = tensor(0, 0), tensor(0, 0)
    batch = Batch([gone, stays], "key", "full")
    gone.cancel()
    batch.outputs = "outputs"
    batch.finish()
    statistics.record_batch(batch)
    assert (read(statistics)["inference_count"], read(statistics)["execution_count"]) == (1, 1)


def test_a_batch_that_nobody_waited_for_is_an_execution_without_a_success() -> None:
    statistics = ModelStatistics()
    gone = tensor(0, 0)
    batch = Batch([gone], "key", "full")
    gone.cancel()
    batch.outputs = "outputs"
    batch.finish()
    statistics.record_batch(batch)
    entry = read(statistics)
    assert (entry["inference_count"], entry["execution_count"], entry["last_inference"]) == (0, 1, 0)


def test_a_failed_batch_counts_by_its_requests() -> None:
    statistics = ModelStatistics()
    failed = tensor(100, 110)
    statistics.record_batch(run([failed], EngineError("no")))
    expired = tensor(100, 140)
    expired.fail(DeadlineExceededError("late"))
    for request in (failed, expired):
        statistics.record_failure(request)
    entry = read(statistics)
    assert entry["inference_stats"]["fail"] == {"count": 2, "ns": 1144 + 40}
    assert (entry["execution_count"], entry["batch_stats"]) == (0, [])

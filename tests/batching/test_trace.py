"""Spans are contiguous, whatever was skipped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching import STAGES, BatchTiming, Trace


def full_trace() -> Trace:
    trace = Trace(1_000, 2_000)
    trace.admitted, trace.decode_started, trace.decoded, trace.transformed = 2_100, 2_500, 4_000, 4_400
    timing = trace.timing = BatchTiming(3, "full")
    timing.instance = "m-0"
    timing.started, timing.copied_in, timing.inferred = 5_000, 5_050, 9_000
    timing.copied_out, timing.postprocessed = 9_010, 9_100
    return trace


def test_every_stage_has_its_own_span() -> None:
    spans = full_trace().stages_ns(end=10_000)
    assert dict(zip(STAGES, spans, strict=True)) == {
        "receive": 1_000,
        "admit": 100,
        "decode_wait": 400,
        "decode": 1_500,
        "transform": 400,
        "batch_wait": 600,
        "copy_in": 50,
        "infer": 3_950,
        "copy_out": 10,
        "postprocess": 90,
        "reply": 900,
    }


def test_the_dictionary_is_in_microseconds_and_has_every_field() -> None:
    shown = full_trace().as_dict(10_000)
    assert shown["total_us"] == 9.0
    assert shown["residual_us"] == 0
    assert shown["batch"] == {"size": 3, "release": "full"}
    assert (shown["instance"], shown["simulated"]) == ("m-0", False)
    assert list(shown["stages_us"]) == list(STAGES)  # type: ignore[call-overload]


def test_a_skipped_stage_is_zero_and_present() -> None:
    trace = full_trace()
    trace.decode_started = trace.decoded = trace.transformed = 0
    spans = dict(zip(STAGES, trace.stages_ns(10_000), strict=True))
    assert spans["decode_wait"] == spans["decode"] == spans["transform"] == 0
    assert spans["batch_wait"] == 5_000 - 2_100


def test_the_reply_ends_at_the_socket_once_it_was_sent() -> None:
    trace = full_trace()
    trace.replied = 12_000
    assert trace.total_ns(end=10_000) == 11_000


@given(st.lists(st.integers(0, 10**12), min_size=11, max_size=11), st.integers(0, 10**12))
def test_stages_never_overlap_and_sum_to_the_total(offsets: list[int], start: int) -> None:
    borders = [start + offset for offset in sorted(offsets)]
    trace = Trace(start, borders[0])
    trace.admitted, trace.decode_started, trace.decoded, trace.transformed = borders[1:5]
    timing = trace.timing = BatchTiming()
    timing.started, timing.copied_in, timing.inferred, timing.copied_out, timing.postprocessed = borders[5:10]
    trace.replied = borders[10]
    spans = trace.stages_ns()
    assert min(spans) >= 0
    assert sum(spans) == trace.total_ns()

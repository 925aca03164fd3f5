"""The stages: how busy the parts were, what bounds the whole, and how it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beyond_serve.bench.experiments.stages.diagnosis import (
    Evidence,
    allowed,
    cpu_shares,
    diagnose,
    reached,
    useful_cpu,
)
from beyond_serve.bench.experiments.stages.measure import busy, in_flight
from tests.bench.experiments.points import result, table

DECODE_BOUND = Evidence(
    end_to_end=800.0,
    concurrency=64,
    cores=1,
    preprocess=1000.0,
    resident=50_000.0,
    raw=4000.0,
    preprocess_cpu_s=0.001,
    resident_cpu_s=0.00002,
    cpu=0.98,
    decoders_busy=0.97,
    instances_busy=0.05,
    decode_wait_ms=60.0,
    batch_wait_ms=3.0,
    latency_ms=80.0,
    batch=12.0,
    max_batch=32,
)
ON_DEVICE = replace(
    DECODE_BOUND, on_cpu=False, resident=820.0, preprocess=5000.0, cpu=0.3, decoders_busy=0.16
)


def test_parts_on_the_same_cores_share_them() -> None:
    assert allowed(DECODE_BOUND) == pytest.approx(1 / (1 / 1000 + 1 / 50_000))
    assert allowed(replace(DECODE_BOUND, on_cpu=False)) == 1000.0
    assert allowed(replace(DECODE_BOUND, preprocess=None)) is None


def test_cpu_is_divided_by_what_the_parts_alone_need() -> None:
    shares = cpu_shares(DECODE_BOUND)
    assert shares == {
        "decoding": pytest.approx(0.8),
        "inference": pytest.approx(0.016),
        "the front end": pytest.approx(0.164),
    }
    assert sum(shares.values()) == pytest.approx(0.98)


def test_a_device_of_its_own_takes_no_cpu() -> None:
    assert cpu_shares(replace(DECODE_BOUND, on_cpu=False))["inference"] == 0.0


def test_parts_that_were_cheaper_than_alone_leave_nothing_negative() -> None:
    assert cpu_shares(replace(DECODE_BOUND, cpu=0.5))["the front end"] == 0.0


def test_unmeasured_cpu_is_not_divided() -> None:
    assert cpu_shares(replace(DECODE_BOUND, cpu=None)) == {}
    assert cpu_shares(replace(DECODE_BOUND, preprocess_cpu_s=None)) == {}


def test_bound_by_decoding_with_its_evidence() -> None:
    found = diagnose(DECODE_BOUND)
    assert found.bound_by == "decoding"
    assert found.because == (
        "decoding took 82 % of the server's CPU time, which was 98 % of its 1 core; "
        "the decoders were busy 97 % of the time"
    )
    assert found.facts == (
        "end to end 800/s; preprocessing alone 1,000/s; inference alone, resident tensors 50,000/s; "
        "inference from raw tensors 4,000/s",
        "the parts allow 980/s on the same cores, of which the server reached 82 %",
        "busy: decoders 97 %, instances 5 %, CPU (1 core) 98 %",
        "of the CPU by what the parts alone need: decoding 80 %, inference 2 %, the front end 16 %",
        "requests waited 60.0 ms for a decoder and 3.00 ms for their batch, of 80.0 ms",
    )


def test_cores_that_others_filled_are_full_too() -> None:
    disturbed = replace(DECODE_BOUND, end_to_end=400.0, cpu=0.5, others_cpu=0.48, decoders_busy=0.5)
    found = diagnose(disturbed)
    assert found.bound_by == "decoding"
    assert found.because == (
        "decoding took 80 % of the server's CPU time, which was 50 % of its 1 core (other programs took 48 %)"
    )
    assert "CPU (1 core) 50 %, other programs there 48 %" in found.facts[1]


def test_bound_by_inference_on_the_cpu() -> None:
    heavy = replace(
        DECODE_BOUND,
        end_to_end=90.0,
        resident=100.0,
        resident_cpu_s=0.01,
        decoders_busy=0.3,
        instances_busy=0.95,
    )
    found = diagnose(heavy)
    assert found.bound_by == "inference"
    assert "the instances were busy 95 % of the time" in found.because


def test_bound_by_inference_on_a_device_of_its_own() -> None:
    found = diagnose(replace(ON_DEVICE, instances_busy=0.99))
    assert found.bound_by == "inference"
    assert found.because == "the instances were busy 99 % of the time, at 12.0 images a batch of 32"


def test_a_device_that_waits_for_decoders() -> None:
    starved = replace(ON_DEVICE, preprocess=1000.0, cpu=0.95, decoders_busy=0.96, instances_busy=0.4)
    assert diagnose(starved).bound_by == "decoding"


def test_bound_by_the_front_end() -> None:
    tiny = replace(DECODE_BOUND, end_to_end=9000.0, preprocess_cpu_s=0.00001, resident_cpu_s=0.00001)
    found = diagnose(replace(tiny, decoders_busy=0.2))
    assert found.bound_by == "the front end"
    assert "sockets, HTTP, batching" in found.because


def test_a_cpu_that_no_part_has_alone() -> None:
    mixed = replace(
        DECODE_BOUND, end_to_end=450.0, resident_cpu_s=0.001, decoders_busy=0.6, instances_busy=0.6
    )
    found = diagnose(mixed)
    assert found.bound_by == "the CPU, shared"
    assert "no part has it alone" in found.because


def test_busy_parts_decide_where_the_cpu_was_not_measured() -> None:
    unmeasured = replace(DECODE_BOUND, cpu=None)
    assert diagnose(unmeasured).bound_by == "decoding"
    assert diagnose(replace(unmeasured, decoders_busy=0.2, instances_busy=0.95)).bound_by == "inference"


IDLE = replace(DECODE_BOUND, cpu=0.3, decoders_busy=0.2, instances_busy=0.1)


def test_too_few_in_flight() -> None:
    found = diagnose(IDLE)
    assert found.bound_by == "the load"
    assert "64 in flight do not fill the server" in found.because


def test_batches_that_wait_to_fill() -> None:
    found = diagnose(replace(IDLE, batch_wait_ms=60.0))
    assert found.bound_by == "the load"
    assert "75 % of their time waiting for batches to fill (12.0 of 32)" in found.because


def test_a_void_measurement_decides_nothing() -> None:
    found = diagnose(replace(DECODE_BOUND, void=("the generator was late",)))
    assert found.bound_by == "nothing decided"
    assert "the generator was late" in found.because


OUTLIER = replace(DECODE_BOUND, raw=400.0, input_ratio=4.98)
AS_FAST = (
    "end to end is 2.00 times as fast as inference from raw tensors, whose requests are 4.98 times as large"
)


def test_the_papers_outlier_is_explained_where_it_shows() -> None:
    assert diagnose(OUTLIER).facts[-1] == (
        f"{AS_FAST}: the paper's TinyViT outlier; it is the transfer, for resident tensors are inferred at "
        "50,000/s"
    )


def test_the_outlier_is_not_explained_by_what_was_not_seen() -> None:
    assert diagnose(replace(OUTLIER, resident=700.0)).facts[-1] == AS_FAST
    assert "raw tensors, whose" not in diagnose(replace(OUTLIER, void=("late",))).facts[-1]


def test_disturbed_rates_are_not_compared() -> None:
    assert reached(DECODE_BOUND) == pytest.approx(0.816)
    for of_others in (
        replace(DECODE_BOUND, others_cpu=0.3),
        replace(DECODE_BOUND, parts_cpu=0.5),
        replace(DECODE_BOUND, void=("late",)),
    ):
        assert reached(of_others) is None
        assert not any("the parts allow" in fact for fact in diagnose(of_others).facts)


def test_useful_cpu_does_not_depend_on_what_else_ran() -> None:
    assert useful_cpu(DECODE_BOUND) == pytest.approx(0.816 / 0.98)
    half = replace(DECODE_BOUND, end_to_end=400.0, cpu=0.49, others_cpu=0.51)
    assert useful_cpu(half) == pytest.approx(0.816 / 0.98)
    assert useful_cpu(replace(DECODE_BOUND, cpu=None)) is None
    assert useful_cpu(replace(DECODE_BOUND, cpu=0.1)) == 1.0


def test_busy_counts_a_batch_once() -> None:
    stages = {
        "decode": 40_000.0,
        "transform": 10_000.0,
        "copy_in": 1000.0,
        "infer": 38_000.0,
        "copy_out": 1000.0,
    }
    rows = table([stages] * 8, [100_000.0] * 8, batch_size=4.0)
    found = busy(result(rows, seconds=1.0), decode_threads=2, instances=1)
    assert found == {"decoders": pytest.approx(0.2), "instances": pytest.approx(0.08)}


def test_without_traces_nothing_is_known_to_be_busy() -> None:
    rows = table([{}], [1.0], traced=(False,))
    assert busy(result(rows), 1, 1) == {}


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 64), (8.0, 16), (20.0, 40), (1000.0, 64)])
def test_images_that_take_long_have_fewer_in_flight(rate: float, expected: int) -> None:
    assert in_flight(64, rate, 2.0) == expected

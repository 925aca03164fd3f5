"""Buckets, timelines, error codes, row layouts, captures: what is decided without a device."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.engines.cuda.buckets import batch_buckets, bucket_for
from beyond_serve.engines.cuda.errors import for_batch, is_sticky
from beyond_serve.engines.cuda.graphs import capture_replay
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError
from beyond_serve.engines.cuda.tensors import parts, row_layout
from beyond_serve.engines.cuda.timeline import borders
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.slots import PayloadRows, SlotRows, neighbours
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError
from tests.engines.cuda.fake_runtime import FakeRuntime

NS = st.integers(0, 10**9)


@given(st.integers(1, 2000))
def test_buckets_waste_a_quarter_at_most(max_batch: int) -> None:
    buckets = batch_buckets(max_batch)
    assert list(buckets) == sorted(set(buckets))
    assert (buckets[0], buckets[-1]) == (1, max_batch)
    assert len(buckets) <= 48
    for rows in range(1, max_batch + 1):
        bucket = bucket_for(rows, buckets)
        assert rows <= bucket <= max(rows * 1.25, rows)
        assert bucket in buckets


def test_a_fixed_batch_is_the_only_bucket() -> None:
    assert batch_buckets(64, 8) == (8,)


@given(st.integers(0, 10**15), NS, NS, NS, NS)
def test_borders_are_ordered_and_keep_the_device_times(
    recorded: int, waking: int, copy_in: int, infer: int, copy_out: int
) -> None:
    seen = recorded + copy_in + infer + copy_out + waking
    found = borders(recorded, seen, copy_in, infer, copy_out)
    assert found.copied_in - recorded == copy_in
    assert found.inferred - found.copied_in == infer
    assert found.copied_out == seen


@given(st.integers(0, 10**15), NS, NS, NS, NS)
def test_borders_stay_within_what_the_host_saw(
    recorded: int, took: int, copy_in: int, infer: int, copy_out: int
) -> None:
    found = borders(recorded, recorded + took, copy_in, infer, copy_out)
    assert recorded <= found.copied_in <= found.inferred <= found.copied_out == recorded + took


@pytest.mark.parametrize("code", [214, 220, 700, 702, 710, 715, 716, 718, 719, 999])
def test_errors_that_lose_the_device(code: int) -> None:
    assert is_sticky(code)
    assert isinstance(for_batch(CudaError(code, "x", "y")), InstanceLostError)


@pytest.mark.parametrize("code", [1, 2, 35, 98, 400, 600, 701, 703, 720, 900, 901])
def test_errors_of_one_call(code: int) -> None:
    assert not is_sticky(code)
    assert isinstance(for_batch(CudaError(code, "x", "y")), EngineError)


def test_sticky_codes_are_cudas() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    names = {error.name: int(error) for error in runtime.cudaError_t if is_sticky(int(error))}
    assert {"cudaErrorIllegalAddress", "cudaErrorLaunchFailure", "cudaErrorECCUncorrectable"} <= set(names)
    assert {"cudaErrorAssert", "cudaErrorHardwareStackError", "cudaErrorMisalignedAddress"} <= set(names)
    assert not {"cudaErrorMemoryAllocation", "cudaErrorLaunchOutOfResources"} & set(names)
    assert len(names) == 15


@given(st.lists(st.integers(0, 60), unique=True).map(sorted))
def test_neighbours_are_all_rows_in_as_few_ranges(indices: list[int]) -> None:
    ranges = neighbours(indices)
    assert [index for start, stop in ranges for index in range(start, stop)] == indices
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(ranges))


@given(st.lists(st.integers(0, 60), unique=True, min_size=1).map(sorted))
def test_runs_are_the_stacked_rows(indices: list[int]) -> None:
    rows = np.arange(61 * 4, dtype=np.uint8).reshape(61, 2, 2)
    slots = SlotRows(rows, indices)
    np.testing.assert_array_equal(np.concatenate(slots.runs()), slots.stacked())
    assert all(run.base is not None for run in slots.runs())
    payloads = PayloadRows(("tensor", (2, 2)), [rows[index].T for index in indices])
    np.testing.assert_array_equal(np.concatenate(payloads.runs()), payloads.stacked())
    assert all(run.flags.c_contiguous for run in payloads.runs())


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 12))
def test_parts_are_all_rows_in_order(lengths: list[int], size: int) -> None:
    values = np.arange(sum(lengths))
    runs = np.split(values, np.cumsum(lengths)[:-1])
    found = [np.concatenate(part) for part in parts(runs, size)]
    np.testing.assert_array_equal(np.concatenate(found), values)
    assert [len(part) for part in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= size


def test_bfloat16_rows_keep_their_values() -> None:
    values = np.array([[1.5, -3.0e38], [np.inf, 2.0**-126]], ml_dtypes.bfloat16)
    layout = row_layout(TensorSpec("x", "BF16", (-1, 2)))
    memory = np.concatenate([values.view(np.uint8).reshape(-1), np.zeros(12, np.uint8)])
    np.testing.assert_array_equal(layout.rows(memory, 2), values.astype(np.float32))
    assert layout.nbytes == 4


@pytest.mark.parametrize(
    "spec",
    [TensorSpec("x", "FP32", (-1, -1)), TensorSpec("x", "BYTES", (-1, 2)), TensorSpec("x", "FP32", ())],
)
def test_tensors_without_a_size(spec: TensorSpec) -> None:
    with pytest.raises(ModelLoadError, match="the tensor 'x'"):
        row_layout(spec)


def test_a_capture_replays_what_was_enqueued() -> None:
    runtime = FakeRuntime()
    stream = runtime.create_stream()
    done: list[int] = []
    replay = capture_replay(runtime, stream, lambda: runtime.do(stream, lambda: done.append(1)))
    runtime.synchronize(stream)
    assert done == []
    replay(), replay()
    runtime.synchronize(stream)
    assert done == [1, 1]
    replay.close(), replay.close()
    runtime.destroy_stream(stream)
    assert runtime.alive == 0


@pytest.mark.parametrize("fails", ["begin_capture", "do", "end_capture"])
def test_a_capture_that_fails_leaves_the_stream_as_it_was(fails: str) -> None:
    runtime = FakeRuntime()
    stream = runtime.create_stream()
    done: list[int] = []
    runtime.fail_next(fails, 901)
    with pytest.raises(CaptureError, match="901"):
        capture_replay(runtime, stream, lambda: runtime.do(stream, lambda: done.append(1)))
    runtime.do(stream, lambda: done.append(2))
    runtime.synchronize(stream)
    assert done == [2]
    runtime.destroy_stream(stream)
    assert runtime.alive == 0


def test_a_capture_that_loses_the_device_is_no_mere_refusal() -> None:
    runtime = FakeRuntime()
    stream = runtime.create_stream()
    runtime.fail_next("do", 700)
    with pytest.raises(CudaError, match="700"):
        capture_replay(runtime, stream, lambda: runtime.do(stream, lambda: None))

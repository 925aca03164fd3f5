"""Batches on a device that computes late, as a real one does: what must be waited for, and what must not."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.classify import classify
from beyond_serve.engines.cuda.context import CudaContext
from beyond_serve.engines.cuda.work import Capturing
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.engines.slots import SlotRows
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.cuda.fake_network import (
    BYTE_INPUT,
    CLASSES,
    INFER_NS,
    float_input,
    normalised,
)
from tests.engines.cuda.fake_runtime import COPY_NS, FakeRuntime
from tests.engines.cuda.fake_setup import MAX_BATCH, make_setup, pixels, wanted

GROWS = {"allocate", "allocate_pinned", "pin", "create_stream", "create_event", "end_capture", "synchronize"}


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.mark.parametrize("given", [BYTE_INPUT, float_input(), float_input("FP16")], ids=["u8", "f32", "f16"])
@pytest.mark.parametrize("count", [1, 2, 7, 9, 11, 12, 13, 30])
def test_every_row_of_images_is_answered(runtime: FakeRuntime, given, count: int) -> None:
    setup = make_setup(runtime, given)
    context = CudaContext(setup)
    for seed in range(3):
        rows = pixels(count, seed)
        outputs = infer(context, image_batch(rows))
        np.testing.assert_allclose(outputs["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01)
        assert outputs["sums"].dtype == np.float32
        assert outputs["sums"].shape == (count, 1)


@pytest.mark.parametrize("given", [BYTE_INPUT, float_input(), float_input("FP16")], ids=["u8", "f32", "f16"])
def test_tensors_go_past_our_normalisation(runtime: FakeRuntime, given) -> None:
    setup = make_setup(runtime, given)
    context = CudaContext(setup)
    for count in (5, 5, 9):
        rows = pixels(count, count)
        own = rows if setup.takes_rows else normalised(rows, setup.image)
        outputs = infer(context, tensor_batch(own))
        np.testing.assert_allclose(outputs["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01)


def test_answers_belong_to_their_caller(runtime: FakeRuntime) -> None:
    context = CudaContext(make_setup(runtime))
    first = infer(context, image_batch(pixels(3, 1)))
    kept = {name: values.copy() for name, values in first.items()}
    infer(context, image_batch(pixels(3, 2)))
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)


def test_bfloat16_is_read_as_float32(runtime: FakeRuntime) -> None:
    rows = pixels(4)
    sums = infer(CudaContext(make_setup(runtime)), image_batch(rows))["sums"][:, 0]
    exact = rows.reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(sums, exact, rtol=2**-7)


def test_pinned_rows_are_copied_from_where_they_lie(runtime: FakeRuntime, monkeypatch) -> None:
    setup = make_setup(runtime)
    arena = pixels(40)
    runtime.pin(arena)
    setup.pinned.adopt(arena)
    context = CudaContext(setup)
    uploads: list[tuple[int, int]] = []
    upload = runtime.upload

    def record(target: int, source: int, nbytes: int, stream: int) -> None:
        uploads.append((source - arena.ctypes.data, nbytes))
        upload(target, source, nbytes, stream)

    monkeypatch.setattr(runtime, "upload", record)
    indices = [3, 4, 5, 9, 20, 21]
    outputs = infer(context, SlotRows(arena, indices))
    row = arena[0].nbytes
    assert uploads == [(3 * row, 3 * row), (9 * row, row), (20 * row, 2 * row)]
    np.testing.assert_allclose(outputs["logits"], wanted(arena[indices], setup), rtol=1e-5, atol=0.01)


def test_rows_elsewhere_go_through_one_pinned_copy(runtime: FakeRuntime, monkeypatch) -> None:
    context = CudaContext(make_setup(runtime))
    uploads: list[int] = []
    upload = runtime.upload
    monkeypatch.setattr(runtime, "upload", lambda *given: (uploads.append(given[2]), upload(*given)))
    arena = pixels(40)
    infer(context, SlotRows(arena, [3, 7, 8]))
    assert uploads == [3 * arena[0].nbytes]


def test_steady_state_allocates_nothing_and_waits_once(runtime: FakeRuntime) -> None:
    setup = make_setup(runtime, float_input())
    context = CudaContext(setup)
    own = normalised(pixels(5), setup.image)
    infer(context, tensor_batch(own))
    before = len(runtime.calls)
    for count in (1, 5, 12, 8):
        infer(context, image_batch(pixels(count)))
        context.rank(image_batch(pixels(count)), BatchTiming(), 3)
    infer(context, tensor_batch(own))
    assert not GROWS & set(runtime.calls[before:])


def test_one_launch_a_batch(runtime: FakeRuntime, monkeypatch) -> None:
    setup = make_setup(runtime, float_input())
    context = CudaContext(setup)
    program = setup.network.programs[0]
    assert sorted(set(program.enqueued)) == list(setup.buckets)
    program.enqueued.clear()
    launches: list[int] = []
    launch = runtime.launch
    monkeypatch.setattr(runtime, "launch", lambda *given: (launches.append(given[0]), launch(*given)))
    infer(context, image_batch(pixels(9)))
    assert len(launches) == 1
    assert not program.enqueued


def test_what_cannot_be_captured_runs_call_by_call(runtime: FakeRuntime, caplog) -> None:
    setup = make_setup(runtime, capturable=False)
    context, other = CudaContext(setup), CudaContext(setup)
    rows = pixels(9)
    for one in (context, other):
        np.testing.assert_allclose(
            infer(one, image_batch(rows))["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01
        )
    assert "stream is capturing" in setup.capturing.refusal
    assert len([record for record in caplog.records if "call by call" in record.message]) == 1


@pytest.mark.parametrize("top_k", [1, 5, 16])
def test_ranking_on_the_device_is_classify(runtime: FakeRuntime, top_k: int) -> None:
    setup = make_setup(runtime)
    context = CudaContext(setup)
    info = EngineInfo("", "", "", (), (), scores="logits")
    for count in (1, 9, 30):
        rows = pixels(count, count)
        best = classify({"logits": wanted(rows, setup)}, info, top_k)
        scores, indices = context.rank(image_batch(rows), BatchTiming(), top_k)
        np.testing.assert_array_equal(indices, best.top_indices)
        np.testing.assert_allclose(scores, best.top_scores, rtol=1e-4)
        assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_fewer_classes_than_asked_for(runtime: FakeRuntime) -> None:
    context = CudaContext(make_setup(runtime, classes=3))
    scores, indices = context.rank(image_batch(pixels(2)), BatchTiming(), 5)
    assert scores.shape == indices.shape == (2, 3)


def test_a_fixed_batch_is_filled_up(runtime: FakeRuntime) -> None:
    setup = make_setup(runtime, fixed_batch=8)
    context = CudaContext(setup)
    assert set(setup.network.programs[0].enqueued) == {8}
    for count in (3, 8, 11):
        rows = pixels(count, count)
        np.testing.assert_allclose(
            infer(context, image_batch(rows))["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01
        )


def test_events_become_borders_on_the_host_clock(runtime: FakeRuntime) -> None:
    # The host's clock is the device's, 1 ms ahead; waking the host takes 30 us.
    setup = make_setup(runtime)
    times = iter([0, 0])
    recorded: list[int] = []

    def clock() -> int:
        recorded.append(next(times) + runtime.now_ns + 1_000_000)
        return recorded[-1]

    times = iter([0, 30_000])
    context = CudaContext(setup, clock=clock)
    timing = BatchTiming()
    context.infer(image_batch(pixels(4)), timing)
    start, seen = recorded
    assert timing.copied_in == start + COPY_NS
    assert timing.inferred == timing.copied_in + INFER_NS
    assert timing.copied_out == seen == timing.inferred + 2 * COPY_NS + 30_000


def test_two_contexts_side_by_side_do_not_touch_each_other(runtime: FakeRuntime) -> None:
    setup = make_setup(runtime, float_input())
    failures: list[str] = []

    def work(seed: int) -> None:
        context = CudaContext(replace(setup, capturing=Capturing()))
        for step in range(30):
            rows = pixels(1 + (seed + step) % MAX_BATCH, 100 * seed + step)
            if not np.allclose(
                infer(context, image_batch(rows))["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01
            ):
                failures.append(f"{seed} {step}")
        context.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert runtime.alive == 0


def test_scores_without_ranking(runtime: FakeRuntime) -> None:
    context = CudaContext(make_setup(runtime, ranks=False))
    assert infer(context, image_batch(pixels(2)))["logits"].shape == (2, CLASSES)

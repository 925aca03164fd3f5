"""Running a plan, on a device and a TensorRT of our own."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.graph import IMAGE_INPUT
from beyond_serve.engines.tensorrt.stamp import Stamp, stamp_text
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer
from tests.engines.cuda.fake_network import CLASSES, HEIGHT, WIDTH, expected
from tests.engines.tensorrt.fake_trt import BYTES_A_ROW, DataType, FakePlan

ROW = (HEIGHT, WIDTH, 3)


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *ROW), np.uint8)


def check(context, count: int) -> None:
    rows = pixels(count)
    logits = infer(context, image_batch(rows))["logits"]
    np.testing.assert_allclose(logits, expected(rows.transpose(0, 3, 1, 2)), rtol=1e-5, atol=0.01)


def test_batches_of_all_sizes(installed, serve) -> None:
    trt = installed()
    context = serve().create_context()
    for count in (1, 3, 8, 5, 11):
        check(context, count)
    assert trt.contexts == 8, "one for each bucket up to the largest batch"


def test_it_says_what_it_is(installed, serve) -> None:
    installed()
    info = serve().info
    assert (info.engine, info.device, info.precision) == ("tensorrt", "cuda:0", "mixed")
    assert (info.max_batch, info.fixed_batch) == (8, None)
    assert info.image_shape == ROW
    assert [(spec.name, spec.datatype, spec.shape) for spec in info.outputs] == [("logits", "FP32", (-1, 20))]


def test_a_steady_state_allocates_nothing_and_replays_graphs(installed, serve, device) -> None:
    trt = installed()
    context = serve().create_context()
    trt.says["execute_async_v3"] = "would be heard if a batch were enqueued call by call"
    device.calls.clear()
    for count in (4, 7, 2):
        check(context, count)
    assert device.calls == []


def test_activations_take_what_the_largest_batch_needs(installed, serve, device) -> None:
    installed()
    engine = serve(max_batch=6)
    before = device.allocated_bytes
    context = engine.create_context()
    rows = 6 * (np.prod(ROW) + 4 * CLASSES)
    ranks = device.allocated_bytes - before - 6 * BYTES_A_ROW - rows
    assert 0 <= ranks < 2000
    context.close()
    assert device.allocated_bytes == before


def test_a_smaller_batch_may_need_more(installed, serve, device) -> None:
    installed(FakePlan(activations=lambda rows: 50_000 if rows == 3 else rows * BYTES_A_ROW))
    context = serve().create_context()
    for count in (8, 3, 2):
        check(context, count)
    context.close()


def test_two_contexts_share_one_engine(installed, serve) -> None:
    trt = installed()
    engine = serve()
    first, second = engine.create_context(), engine.create_context()
    check(first, 3)
    check(second, 8)
    check(first, 8)
    assert trt.alive.count("engine") == 1
    first.close()
    check(second, 2)


def test_everything_is_given_back_in_order(installed, serve, device) -> None:
    trt = installed()
    engine = serve()
    trt.freed.clear()
    context = engine.create_context()
    made = [name for name in trt.alive if name.startswith("context")]
    check(context, 3)
    context.close()
    assert sorted(trt.freed) == sorted(made)
    engine.close()
    engine.close()
    gc.collect()
    assert trt.freed[-2:] == ["engine", "runtime"]
    assert trt.alive == []
    assert device.alive == 0


def test_float_plans_get_our_normalisation_in_front(installed, serve) -> None:
    shape = (-1, 3, HEIGHT, WIDTH)
    installed(FakePlan({"pixels": (DataType.FLOAT, shape)}, profiles=(((1, *shape[1:]), (8, *shape[1:])),)))
    context = serve(normalization=Normalization()).create_context()
    rows = pixels(3)
    how = Normalization()
    values = (rows * how.scale - np.array(how.mean)) / np.array(how.std)
    logits = infer(context, image_batch(rows))["logits"]
    np.testing.assert_allclose(
        logits, expected(values.transpose(0, 3, 1, 2).astype(np.float32)), rtol=1e-4, atol=1e-3
    )


def test_our_own_plans_have_the_order_of_channels_inside(installed, serve) -> None:
    installed(FakePlan({IMAGE_INPUT: (DataType.UINT8, (-1, *ROW))}))
    context = serve(normalization=Normalization(channel_order="BGR")).create_context()
    check(context, 3)


def test_a_fixed_batch_is_filled_up(installed, serve) -> None:
    trt = installed(
        FakePlan({"pixels": (DataType.UINT8, (4, *ROW))}, {"logits": (DataType.FLOAT, (4, CLASSES))})
    )
    engine = serve()
    assert (engine.info.fixed_batch, engine.info.max_batch) == (4, 4)
    context = engine.create_context()
    check(context, 3)
    check(context, 9)
    assert trt.contexts == 1


def test_of_several_profiles_the_widest_is_taken(installed, serve) -> None:
    profiles = (((1, *ROW), (1, *ROW)), ((1, *ROW), (6, *ROW)), ((8, *ROW), (8, *ROW)))
    installed(FakePlan(profiles=profiles))
    engine = serve()
    assert engine.info.max_batch == 6
    check(engine.create_context(), 5)


def test_a_profile_that_begins_late_runs_small_batches_as_its_smallest(installed, serve) -> None:
    trt = installed(FakePlan(profiles=(((3, *ROW), (8, *ROW)),)))
    context = serve().create_context()
    check(context, 1)
    check(context, 2)
    assert trt.contexts == 6, "batches of 1 and 2 run as 3"
    with pytest.raises(ModelLoadError, match="smallest batch is 3") as caught:
        serve(max_batch=2)
    assert "--max-batch 3" in caught.value.hint


def test_a_size_that_the_profile_leaves_open_is_the_images(installed, serve) -> None:
    free = {"pixels": (DataType.UINT8, (-1, -1, -1, 3))}
    plan = FakePlan(
        free,
        {"logits": (DataType.FLOAT, (-1, CLASSES)), "map": (DataType.FLOAT, (-1, -1))},
        profiles=(((1, 2, 2, 3), (8, 10, 10, 3)),),
        made=lambda given, shape: (given[0], shape[1] if shape[1] > 0 else given[1]),
    )
    installed(plan)
    engine = serve(image_size=(HEIGHT, WIDTH))
    assert [spec.shape for spec in engine.info.outputs] == [(-1, CLASSES), (-1, HEIGHT)]
    check(engine.create_context(), 3)
    with pytest.raises(ModelLoadError, match=r"no profile of the plan takes an image as \[32, 32, 3\]"):
        serve(image_size=(32, 32))


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ({"boxes": (DataType.FLOAT, (-1, -1))}, "depends on what is in the image"),
        ({"mean": (DataType.FLOAT, (CLASSES,))}, "not one row for each image"),
        ({"packed": (DataType.FP8, (-1, CLASSES))}, "FP8, which no client can read"),
    ],
)
def test_outputs_that_cannot_be_served(installed, serve, outputs: dict, complaint: str) -> None:
    installed(FakePlan(outputs=outputs, made=lambda given, shape: shape))
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        serve()
    assert caught.value.hint


def test_precision_is_the_plans_own(installed, serve) -> None:
    installed(FakePlan(name=stamp_text(Stamp("fp16", ("logits",)))))
    engine = serve(precision="fp16")
    assert engine.info.precision == "fp16"
    assert engine.info.scores_are_probabilities
    with pytest.raises(ModelLoadError, match="built for fp16, and does not run in fp32"):
        serve(precision="fp32")


def test_a_strangers_plan_does_not_tell_its_precision(installed, serve) -> None:
    installed()
    with pytest.raises(ModelLoadError, match="a precision that it does not tell"):
        serve(precision="bf16")


def test_rtx_compiles_eagerly_and_keeps_what_it_compiled(installed, serve, plan_path: Path) -> None:
    plan_path.write_bytes(b"vtrt")
    trt = installed(module="tensorrt_rtx")
    engine = serve()
    (config,) = trt.configs
    assert config.cuda_graph_strategy.name == "DISABLED"
    assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
    assert config.cache is not None
    check(engine.create_context(), 5)
    engine.close()
    kept = plan_path.with_name("net.plan.rtxcache")
    assert kept.read_bytes() == b"compiled here"
    kept.write_bytes(b"compiled before")
    written = kept.stat().st_ino
    serve().close()
    assert kept.stat().st_ino == written, "what has not changed is not written again"
    assert trt.configs[-1].cache.content == b"compiled before"
    assert kept.read_bytes() == b"compiled before"
    kept.write_bytes(b"of another GPU")
    serve().close()
    assert kept.read_bytes() == b"compiled here"


def test_a_cache_that_cannot_be_kept_is_a_warning(installed, serve, plan_path: Path, caplog) -> None:
    plan_path.write_bytes(b"vtrt")
    installed(module="tensorrt_rtx")
    plan_path.with_name("net.plan.rtxcache").mkdir()
    serve().close()
    assert "compiled kernels cannot be kept" in caplog.text

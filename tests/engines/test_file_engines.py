"""What the engines that run files share: fixed batches, tensors, errors, many threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.engine_info import batch_warning
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.onnxruntime_engine import choose_own_precision, shared_threads
from beyond_serve.errors import EngineError, ModelLoadError
from tests.engines.batches import encoded_batch, image_batch, infer, tensor_batch
from tests.engines.models import Net, images, write, write_raw

ENGINES = ("openvino", "onnxruntime")
both = pytest.mark.parametrize("engine_name", ENGINES)


def load(source: str, engine_name: str, **more: object):
    return load_engine(EngineConfig(source, engine=engine_name, precision="fp32", max_batch=4, **more))


@both
def test_a_batch_axis_that_can_be_freed_is_freed(tmp_path: Path, engine_name: str) -> None:
    engine = load(write(tmp_path / "one.onnx", Net(batch=1)), engine_name)
    free = load(write(tmp_path / "free.onnx"), engine_name)
    assert engine.info.fixed_batch is None
    assert engine.info.warnings == (batch_warning(1, freed=True),)
    rows = images(3)
    np.testing.assert_allclose(
        infer(engine.create_context(), image_batch(rows))["logits"],
        infer(free.create_context(), image_batch(rows))["logits"],
        rtol=1e-5, atol=1e-4,
    )  # fmt: skip


@both
@pytest.mark.parametrize("shape", [[1, 8], [1, -1]])
@pytest.mark.parametrize("as_node", [False, True])
def test_a_batch_inside_a_reshape_is_freed_too(
    tmp_path: Path, engine_name: str, shape: list[int], as_node: bool
) -> None:
    constant = helper.make_node(
        "Constant", [], ["s"], value=helper.make_tensor("s", TensorProto.INT64, [2], shape)
    )
    source = write_raw(
        tmp_path / "reshape.onnx",
        [*([constant] if as_node else []), helper.make_node("Reshape", ["x", "s"], ["y"])],
        {"x": (TensorProto.FLOAT, [1, 1, 2, 4])},
        {"y": (TensorProto.FLOAT, [1, 8])},
        {} if as_node else {"s": np.array(shape, np.int64)},
    )
    engine = load(source, engine_name)
    assert engine.info.fixed_batch is None
    rows = np.repeat(images(3, (2, 4))[..., :1], 3, axis=3)
    outputs = infer(engine.create_context(), image_batch(rows))
    np.testing.assert_allclose(outputs["y"], rows[..., 0].reshape(3, 8), rtol=1e-6)


@both
def test_a_fixed_batch_of_one_is_served_row_by_row(tmp_path: Path, engine_name: str) -> None:
    # Its shapes allow more rows; only their values betray that rows would mix.
    engine = load(write(tmp_path / "one.onnx", Net(batch=1, mixes_rows=True)), engine_name)
    assert engine.info.fixed_batch == 1
    assert engine.info.warnings == (batch_warning(1, freed=False),)
    assert "cannot batch" in engine.info.warnings[0]
    context = engine.create_context()
    rows = images(3)
    together = infer(context, image_batch(rows))["logits"]
    alone = [infer(context, image_batch(rows[index : index + 1]))["logits"][0] for index in range(3)]
    np.testing.assert_array_equal(together, alone)
    engine.prepare_tensors()
    tensors = rows.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(
        infer(context, tensor_batch(tensors))["logits"], together, rtol=1e-5, atol=1e-3
    )


@both
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_fixed_batch_is_padded(tmp_path: Path, engine_name: str, count: int) -> None:
    engine = load(write(tmp_path / "four.onnx", Net(batch=4, rigid=True)), engine_name)
    free = load(write(tmp_path / "free.onnx"), engine_name)
    assert engine.info.fixed_batch == 4
    assert "padded" in engine.info.warnings[0]
    rows = images(count)
    np.testing.assert_allclose(
        infer(engine.create_context(), image_batch(rows))["logits"],
        infer(free.create_context(), image_batch(rows))["logits"],
        rtol=1e-5, atol=1e-4,
    )  # fmt: skip


@both
def test_tensors_need_preparation_and_their_shape(tmp_path: Path, engine_name: str) -> None:
    engine = load(write(tmp_path / "net.onnx"), engine_name)
    context = engine.create_context()
    good = np.zeros((2, 3, 12, 16), np.float32)
    with pytest.raises(EngineError, match="not prepared"):
        infer(context, tensor_batch(good))
    engine.prepare_tensors()
    assert infer(context, tensor_batch(good))["logits"].shape == (2, 5)
    for bad in (np.zeros((2, 3, 12, 15), np.float32), good[0], good.astype(np.float64)):
        with pytest.raises(EngineError, match=r"takes FP32 \[-1, 3, 12, 16\], not"):
            infer(context, tensor_batch(bad))
    with pytest.raises(EngineError, match="encoded"):
        infer(context, encoded_batch(1))
    assert infer(context, tensor_batch(good))["logits"].shape == (2, 5)


@both
def test_images_of_another_size_fail_their_batch_only(tmp_path: Path, engine_name: str) -> None:
    context = load(write(tmp_path / "net.onnx"), engine_name).create_context()
    with pytest.raises(EngineError, match="failed") as caught:
        infer(context, image_batch(images(1, (5, 5))))
    assert "\n" not in caught.value.message
    assert infer(context, image_batch(images(1)))["logits"].shape == (1, 5)


@both
def test_closed_is_closed(tmp_path: Path, engine_name: str) -> None:
    engine = load(write(tmp_path / "net.onnx"), engine_name)
    context = engine.create_context()
    context.close()
    with pytest.raises(EngineError, match="context is closed"):
        infer(context, image_batch(images(1)))
    engine.close()
    for use in (engine.create_context, engine.prepare_tensors):
        with pytest.raises(EngineError, match="engine is closed"):
            use()


@both
def test_contexts_answer_at_the_same_time(tmp_path: Path, engine_name: str) -> None:
    engine = load(write(tmp_path / "net.onnx"), engine_name, instances=3)
    rows = [images(1 + index, seed=index) for index in range(3)]
    reference = engine.create_context()
    expected = [infer(reference, image_batch(part))["logits"] for part in rows]
    wrong: list[int] = []
    gate = threading.Barrier(3)

    def work(index: int) -> None:
        context = engine.create_context()
        gate.wait()
        answers = [infer(context, image_batch(rows[index]))["logits"] for _ in range(20)]
        wrong.extend(index for answer in answers if not np.allclose(answer, expected[index], atol=1e-3))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@both
def test_an_output_without_rows_ends_the_start(tmp_path: Path, engine_name: str) -> None:
    source = write_raw(
        tmp_path / "mean.onnx",
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)],
        {"x": (TensorProto.FLOAT, ["N", 3, 4, 4])},
        {"y": (TensorProto.FLOAT, [3, 4, 4])},
    )
    with pytest.raises(EngineError, match=r"the output 'y' has the shape \[3, 4, 4\] for a batch of 1"):
        load(source, engine_name).create_context()


@both
def test_all_outputs_are_given_and_models_without_scores_say_so(tmp_path: Path, engine_name: str) -> None:
    source = write_raw(
        tmp_path / "maps.onnx",
        [
            helper.make_node("Relu", ["x"], ["map"]),
            helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        ],
        {"x": (TensorProto.FLOAT, ["N", 3, 4, 4])},
        {"map": (TensorProto.FLOAT, ["N", 3, 4, 4]), "whole": (TensorProto.INT64, ["N", 3, 4, 4])},
    )
    engine = load(source, engine_name)
    assert engine.info.scores is None
    assert "no output is class scores" in engine.info.warnings[0]
    rows = images(2, (4, 4))
    outputs = infer(engine.create_context(), image_batch(rows))
    np.testing.assert_array_equal(outputs["map"], rows.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(outputs["whole"], rows.transpose(0, 3, 1, 2))
    assert outputs["whole"].dtype == np.int64


@both
def test_external_weights_are_found_from_anywhere(
    tmp_path: Path, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    inside = write(tmp_path / "inside.onnx")
    (tmp_path / "folder").mkdir()
    outside = tmp_path / "folder" / "outside.onnx"
    onnx.save(
        onnx.load(inside), outside, save_as_external_data=True, location="outside.bin", size_threshold=0
    )
    monkeypatch.chdir(tmp_path / "folder")
    rows = images(2)
    results = [
        infer(load(source, engine_name).create_context(), image_batch(rows))["logits"]
        for source in (inside, "outside.onnx", str(outside))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@both
def test_a_graph_that_cannot_be_compiled_is_told_in_one_line(tmp_path: Path, engine_name: str) -> None:
    source = write_raw(
        tmp_path / "odd.onnx",
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, ["N", 3, 4, 4])},
        {"y": (TensorProto.FLOAT, ["N", 3])},
    )
    with pytest.raises(ModelLoadError, match="NoSuchOperator") as caught:
        load(source, engine_name)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_onnxruntime_keeps_the_files_own_precision(tmp_path: Path) -> None:
    single = describe_model(write(tmp_path / "a.onnx"))
    half = describe_model(write(tmp_path / "b.onnx", Net(datatype="FP16")))
    assert choose_own_precision("auto", single) == choose_own_precision("fp32", single) == "fp32"
    assert choose_own_precision("auto", half) == choose_own_precision("fp16", half) == "fp16"
    for asked in ("bf16", "fp16", "int8"):
        with pytest.raises(ModelLoadError, match=f"fp32, and not in {asked}"):
            choose_own_precision(asked, single)


@pytest.mark.parametrize(
    ("threads", "instances", "cores", "pool"),
    [(0, 1, 8, 8), (0, 2, 8, 7), (0, 4, 8, 5), (0, 4, 2, 1), (1, 4, 8, 1), (2, 2, 8, 3)],
)
def test_callers_and_workers_are_the_threads_asked_for(
    threads: int, instances: int, cores: int, pool: int
) -> None:
    assert shared_threads(EngineConfig("x.onnx", threads=threads, instances=instances), cores) == pool


def test_onnxruntime_refuses_graphs_too_old_for_surgery(tmp_path: Path) -> None:
    source = write(tmp_path / "old.onnx", Net(opset=6))
    with pytest.raises(ModelLoadError, match="opset is 6"):
        load(source, "onnxruntime")

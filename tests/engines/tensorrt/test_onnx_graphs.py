"""Models made ready for TensorRT answer as before, as ONNX Runtime sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.graph import IMAGE_INPUT, with_image_input
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.tensorrt.onnx_images import with_images_for_tensorrt
from beyond_serve.engines.tensorrt.onnx_precision import bfloat16_bits, in_precision, own_precision
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.models import SIZE, Net, images, write, write_raw
from tests.engines.tensorrt.vit import SIDE, write_vit

RGB, BGR = Normalization(), Normalization(channel_order="BGR")


def answers(proto, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {IMAGE_INPUT: rows})[0]


@pytest.mark.parametrize(
    ("net", "how"),
    [
        (Net(), RGB),
        (Net(), BGR),
        (Net(layout="NHWC"), BGR),
        (Net(channels=1), RGB),
        (Net(datatype="FP16"), BGR),
        (Net(datatype="UINT8"), RGB),
        (Net(datatype="UINT8"), BGR),
        (Net(datatype="UINT8", channels=1), RGB),
        (Net(datatype="UINT8", layout="NHWC"), RGB),
    ],
)
def test_pixels_are_floats_at_once_and_the_answers_the_same(tmp_path: Path, net: Net, how) -> None:
    source = write(tmp_path / "net.onnx", net)
    image, _ = image_input(describe_model(source), how, None)
    proto = onnx.load(source)
    made = with_images_for_tensorrt(proto, image)
    (first,) = [node for node in made.graph.node if IMAGE_INPUT in node.input]
    assert (first.op_type, first.attribute[0].i) == ("Cast", TensorProto.FLOAT)
    in_between = [
        node
        for node in made.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.UINT8
    ]
    assert in_between == []
    rows = images(3)
    np.testing.assert_allclose(answers(made, rows), answers(with_image_input(proto, image), rows), atol=1e-5)


def test_a_model_that_computes_in_bytes_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])]
    shape = ["N", 3, *SIZE]
    source = write_raw(
        tmp_path / "net.onnx",
        nodes,
        {"x": (TensorProto.UINT8, shape)},
        {"y": (TensorProto.UINT8, ["N", 3, 11, 15])},
    )
    image, _ = image_input(describe_model(source), None, None)
    with pytest.raises(ModelLoadError, match="computes in uint8") as caught:
        with_images_for_tensorrt(onnx.load(source), image)
    assert "Cast as its first operator" in caught.value.hint


@pytest.mark.parametrize(
    ("net", "precision"), [(Net(), "fp32"), (Net(datatype="FP16"), "fp16"), (Net(datatype="UINT8"), "fp32")]
)
def test_own_precision(tmp_path: Path, net: Net, precision: str) -> None:
    assert own_precision(onnx.load(write(tmp_path / "net.onnx", net))) == precision


def test_fp16_keeps_the_tensors_outside(tmp_path: Path) -> None:
    proto = onnx.load(write(tmp_path / "net.onnx"))
    half = in_precision(proto, "fp16")
    assert own_precision(half) == "fp16"
    for given, made in zip(
        (*proto.graph.input, *proto.graph.output), (*half.graph.input, *half.graph.output), strict=True
    ):
        assert (given.name, given.type) == (made.name, made.type)
    image, _ = image_input(describe_model(str(tmp_path / "net.onnx")), RGB, None)
    expected, got = (answers(with_images_for_tensorrt(model, image), images(3)) for model in (proto, half))
    assert 0 < np.abs(got - expected).max() < 0.01 * np.abs(expected).max()


def test_bf16_holds_the_weights_of_fp32_and_no_fp16(tmp_path: Path) -> None:
    proto = onnx.load(write(tmp_path / "net.onnx"))
    # Smaller than any float16, which would make zeros of them.
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0]) * np.float32(1e-9)
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(weights, proto.graph.initializer[0].name)
    )
    made = in_precision(proto, "bf16")
    assert own_precision(made) == "bf16"
    kinds = {tensor.data_type for tensor in made.graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in made.graph.value_info}
    kinds |= {node.attribute[0].i for node in made.graph.node if node.op_type == "Cast"}
    assert kinds == {TensorProto.BFLOAT16, TensorProto.FLOAT}
    raw = np.frombuffer(made.graph.initializer[0].raw_data, "<u2").astype(np.uint32) << 16
    np.testing.assert_allclose(raw.view(np.float32), weights.reshape(-1), rtol=2**-8)


def test_a_transformer_in_bf16_answers_alike(tmp_path: Path) -> None:
    proto = onnx.load(write_vit(tmp_path / "vit.onnx"))
    made = in_precision(proto, "bf16")
    onnx.checker.check_model(made)
    pixels = np.random.default_rng(0).standard_normal((2, 3, SIDE, SIDE)).astype(np.float32)
    expected, got = (ReferenceEvaluator(model).run(None, {"pixels": pixels})[0] for model in (proto, made))
    assert got.dtype == np.float32
    assert 0 < np.linalg.norm(got - expected) < 0.01 * np.linalg.norm(expected)


def test_bfloat16_is_the_nearest_ties_to_even() -> None:
    given = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.0e38, np.inf, np.nan], np.float32)
    made = (bfloat16_bits(given).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(made[:4], [1.0, 1.0, 1 + 2**-6, 1 + 2**-7])
    assert made[4] == pytest.approx(-3.0e38, rel=2**-8)
    assert made[5] == np.inf
    assert np.isnan(made[6])

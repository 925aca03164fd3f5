from __future__ import annotations

import json
from pathlib import Path

import onnx
import openvino
import pytest
from onnx import TensorProto, helper

from beyond_serve.engines.describe import describe_model
from beyond_serve.errors import ModelLoadError
from tests.engines.models import Net, write, write_raw

F = TensorProto.FLOAT
RELU = [helper.make_node("Relu", ["x"], ["y"])]


def refused(source: object) -> str:
    """The message of the refusal: one line, with a hint."""
    with pytest.raises(ModelLoadError) as caught:
        describe_model(str(source))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    "net", [Net(), Net(layout="NHWC", datatype="FP16", softmax=True), Net(channels=1, batch=2)]
)
def test_onnx_and_ir_are_described_alike(tmp_path: Path, net: Net) -> None:
    source = write(tmp_path / "net.onnx", net)
    openvino.save_model(openvino.Core().read_model(source), tmp_path / "net.xml", compress_to_fp16=False)
    for path, kind in ((source, "onnx"), (str(tmp_path / "net.xml"), "ir")):
        got = describe_model(path)
        assert (got.source, got.format, got.layout, got.channels) == (path, kind, net.layout, net.channels)
        assert got.image_size == net.size
        assert got.datatype == net.datatype
        assert got.batch == (None if net.batch == "N" else net.batch)
        assert got.scores == ("probabilities" if net.softmax else "logits")
        assert got.scores_are_probabilities is net.softmax
        assert got.takes_images
        assert not got.quantized
        assert [spec.name for spec in got.inputs] == ["pixels"]
        assert got.outputs[0].shape == (got.batch or -1, 5)


def test_null_and_sim_are_described(tmp_path: Path) -> None:
    assert not describe_model("null:").takes_images
    assert describe_model("null:32").image_size == (32, 32)
    table = tmp_path / "t.json"
    table.write_text(json.dumps({"name": "a", "input": [8, 9, 3], "classes": 4, "latency_ms": {"1": 1}}))
    sim = describe_model(f"sim:{table}")
    assert (sim.format, sim.image_size, sim.scores) == ("sim", (8, 9), "logits")
    assert sim.takes_images


def test_softmax_is_seen_through_reshapes_and_not_inside(tmp_path: Path) -> None:
    end = [
        helper.make_node("Softmax", ["x"], ["a"], axis=1),
        helper.make_node("Cast", ["a"], ["b"], to=F),
        helper.make_node("Flatten", ["b"], ["y"]),
    ]
    shapes = ({"x": (F, ["N", 3, 1, 1])}, {"y": (F, ["N", 3])})
    assert describe_model(write_raw(tmp_path / "end.onnx", end, *shapes)).scores_are_probabilities
    inside = [*end[:2], helper.make_node("Relu", ["b"], ["c"]), helper.make_node("Flatten", ["c"], ["y"])]
    assert not describe_model(write_raw(tmp_path / "in.onnx", inside, *shapes)).scores_are_probabilities


def test_weights_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    source = write_raw(
        tmp_path / "old.onnx",
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        {"x": (F, ["N", 3, 4, 4]), "w": (F, [1])},
        {"y": (F, ["N", 3, 4, 4])},
        {"w": [2.0]},
    )
    assert [spec.name for spec in describe_model(source).inputs] == ["x"]


def test_outputs_without_a_shape_are_inferred(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx")
    proto = onnx.load(source)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, source)
    assert describe_model(source).outputs[0].shape == (-1, 5)
    assert describe_model(source).scores == "logits"


def test_quantised_graphs_are_seen(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    shape = (F, ["N", 3, 4, 4])
    import numpy as np

    source = write_raw(tmp_path / "q.onnx", nodes, {"x": shape}, {"y": shape}, {"s": np.float32(0.1)})
    assert describe_model(source).quantized


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in refused(tmp_path / "empty.onnx")


@pytest.mark.parametrize("name", ["net.pb", "net", "", "null", "https://example.org/net"])
def test_unknown_endings(name: str) -> None:
    assert "is no kind of model" in refused(name)


@pytest.mark.parametrize(
    "content", [b"hello, I am text", b"\x00" * 100, b"\x89PNG\r\n\x1a\n" + bytes(50), b"{}"]
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    for ending, message in ((".onnx", "no ONNX model"), (".xml", "no OpenVINO model")):
        path = tmp_path / f"net{ending}"
        path.write_bytes(content)
        path.with_suffix(".bin").write_bytes(b"")
        assert message in refused(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_onnx(tmp_path: Path, part: float) -> None:
    path = Path(write(tmp_path / "net.onnx"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "truncated" in refused(path)


def test_incomplete_ir(tmp_path: Path) -> None:
    openvino.save_model(openvino.Core().read_model(write(tmp_path / "net.onnx")), tmp_path / "net.xml")
    text = (tmp_path / "net.xml").read_text()
    (tmp_path / "cut.xml").write_text(text[: len(text) // 2])
    assert "lacks its weights" in refused(tmp_path / "cut.xml")
    (tmp_path / "net.bin").rename(tmp_path / "other.bin")
    assert "lacks its weights" in refused(tmp_path / "net.xml")


def test_external_weights_missing_or_short(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    proto = onnx.load(write(path))
    onnx.save(proto, path, save_as_external_data=True, location="net.weights", size_threshold=0)
    assert describe_model(str(path)).scores == "logits"
    weights = tmp_path / "net.weights"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "truncated" in refused(path)
    weights.unlink()
    assert "net.weights', which does not exist" in refused(path)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": (F, ["N", 10])}, "is no image"),
        ({"x": (F, ["N", 4, 8, 8])}, "is no image"),
        ({"x": (F, ["N", "C", 8, 8])}, "is no image"),
        ({"x": (TensorProto.INT64, ["N", 3, 8, 8])}, "is INT64"),
        ({"x": (TensorProto.DOUBLE, ["N", 3, 8, 8])}, "is FP64"),
        ({"x": (F, ["N", 3, 8, 8]), "mask": (F, ["N", 1])}, "has 2 inputs ('x', 'mask')"),
        ({}, "has 0 inputs (none)"),
    ],
)
def test_models_that_take_no_image(
    tmp_path: Path, inputs: dict[str, tuple[int, list[object]]], message: str
) -> None:
    assert message in refused(write_raw(tmp_path / "net.onnx", RELU, inputs, {"y": (F, ["N", 3])}))

"""A model whose answer names its image, and which fails on poisonous ones.

The image is one colour: red and green are a number, blue of 255 is poison. A Gather looks the number up in
a table, and ONNX Runtime raises for an index outside of it, which fails the whole batch.
"""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 8
NUMBERS = 1024
"""How many different numbers an image can carry."""

_FAR_OUTSIDE = 1_000_000
_POISON_BLUE = 255
_WORK = 256

SIDECAR = f"""
[preprocess]
resize = "exact"
size = {SIDE}
scale = 1.0
mean = [0, 0, 0]
std = [1, 1, 1]
"""


def image(number: int, *, poisonous: bool = False) -> bytes:
    """A PNG that carries `number`, below `NUMBERS`."""
    colour = (number % 256, number // 256, _POISON_BLUE if poisonous else 0)
    buffer = BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, "PNG")
    return buffer.getvalue()


def random_number(rng: random.Random) -> int:
    return rng.randrange(NUMBERS)


def write_model(path: Path, work: int = 0) -> Path:
    """Write the model and the preprocessing beside it; returns the path.

    Input "pixels" uint8 [n, 8, 8, 3]; output "logits" float32 [n, 1024], best at the image's number.

    Args:
        path: ends in .onnx.
        work: products of two 256x256 matrices that each image costs, for a server that is easily overloaded.
    """
    nodes = [
        helper.make_node("Slice", ["pixels", "from", "to", "axes"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "rgb_shape"], ["rgb"]),
        helper.make_node("MatMul", ["rgb", "digits"], ["number"]),
        helper.make_node("MatMul", ["rgb", "blue"], ["blueness"]),
        helper.make_node("Equal", ["blueness", "poison_blue"], ["poisonous"]),
        helper.make_node("Where", ["poisonous", "far_outside", "number"], ["place"]),
        helper.make_node("Cast", ["place"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"], axis=0),
        *_work(work),
        helper.make_node("Add", ["found", "nothing"], ["answer"]),
        helper.make_node("Sub", ["table", "answer"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "poison",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", NUMBERS])],
        _constants(),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    path.with_suffix(".toml").write_text(SIDECAR)
    return path


def _work(products: int) -> list[onnx.NodeProto]:
    """Nodes that make "nothing" [n, 1], which is 0, out of "number", the long way."""
    nodes = [
        helper.make_node("Reshape", ["number", "scalar_shape"], ["scalar"]),
        helper.make_node("Mul", ["scalar", "matrix"], ["product0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"product{step}", "matrix"], [f"product{step + 1}"])
        for step in range(products)
    ]
    return [
        *nodes,
        helper.make_node("ReduceMean", [f"product{products}"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["mean_of_means"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean_of_means", "zero"], ["nothing"]),
    ]


def _constants() -> list[TensorProto]:
    arrays = {
        "from": np.array([0, 0], np.int64),
        "to": np.array([1, 1], np.int64),
        "axes": np.array([1, 2], np.int64),
        "rgb_shape": np.array([-1, 3], np.int64),
        "scalar_shape": np.array([-1, 1, 1], np.int64),
        "digits": np.array([[1], [256], [0]], np.float32),
        "blue": np.array([[0], [0], [1]], np.float32),
        "poison_blue": np.array(_POISON_BLUE, np.float32),
        "far_outside": np.array(_FAR_OUTSIDE, np.float32),
        "table": np.arange(NUMBERS, dtype=np.float32),
        # Its powers neither grow nor vanish.
        "matrix": np.full((_WORK, _WORK), 1 / _WORK, np.float32),
        "zero": np.array(0, np.float32),
    }
    return [numpy_helper.from_array(array, name) for name, array in arrays.items()]

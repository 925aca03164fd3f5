from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.errors import ModelLoadError
from beyond_serve.zoo.cost import count
from tests.zoo.graphs import GraphOfSizes, resnet50, vit_base


@pytest.mark.parametrize(
    ("model", "published_gmacs", "macs"),
    [
        # ResNet-50: torchvision's table. ViT-Base/16: timm's, by fvcore, which adds 0.019 G for layer norms.
        pytest.param(resnet50(), 4.09, 4_089_184_256, id="resnet-50"),
        pytest.param(vit_base(), 17.58 - 0.019, 17_563_828_224, id="vit-base"),
    ],
)
def test_published_figures(model: onnx.ModelProto, published_gmacs: float, macs: int) -> None:
    cost = count(model)
    assert cost.macs == macs
    assert cost.gmacs == pytest.approx(published_gmacs, abs=0.005)
    assert cost.gflops == 2 * cost.gmacs


def test_weights_are_the_numbers_in_the_files_tensors() -> None:
    """ResNet-50's 25,557,032 parameters less those of its batch norms, 53,120."""
    assert count(resnet50()).weights == 25_557_032 - 53_120


def test_the_demo_model_counted_by_hand() -> None:
    """Three 3x3 convolutions and two 1x1 of the digit network, then its dense layer."""
    graph = load_proto(DEMO_MODEL).graph
    dims = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    by_operator = count(load_proto(DEMO_MODEL)).by_operator
    dense = next(node for node in graph.node if node.op_type == "Gemm")
    outputs_by_inputs = dims[dense.input[1]]
    assert by_operator["Gemm"] == outputs_by_inputs[0] * outputs_by_inputs[1]
    assert set(by_operator) == {"Conv", "Gemm"}


def test_a_batch_written_into_the_file_counts_once() -> None:
    graph = GraphOfSizes()
    out = graph.conv("x", 3, 8, 3)
    assert count(graph.model({"x": ["N", 3, 4, 4]}, out)).macs == 4 * 4 * 8 * 27
    graph = GraphOfSizes()
    out = graph.conv("x", 3, 8, 3)
    assert count(graph.model({"x": [16, 3, 4, 4]}, out)).macs == 4 * 4 * 8 * 27


def test_a_free_image_size_is_the_one_given() -> None:
    graph = GraphOfSizes()
    out = graph.conv("x", 3, 8, 3, stride=2)
    model = graph.model({"x": ["N", 3, "H", "W"]}, out)
    assert count(model, (8, 6)).macs == 4 * 3 * 8 * 27
    with pytest.raises(ModelLoadError, match="cannot be inferred"):
        count(model)


def test_groups_divide_the_cost() -> None:
    graph = GraphOfSizes()
    out = graph.node("Conv", "x", graph.weight(8, 1, 3, 3), pads=[1] * 4, group=8)
    assert count(graph.model({"x": ["N", 8, 5, 5]}, out)).macs == 5 * 5 * 8 * 9


def test_a_transposed_convolution_spreads_each_input() -> None:
    graph = GraphOfSizes()
    out = graph.node("ConvTranspose", "x", graph.weight(4, 6, 2, 2), strides=[2, 2])
    assert count(graph.model({"x": ["N", 4, 3, 3]}, out)).macs == 3 * 3 * 4 * 6 * 4


def test_gemm() -> None:
    graph = GraphOfSizes()
    out = graph.node("Gemm", "x", graph.weight(7, 5))
    assert count(graph.model({"x": ["N", 7]}, out)).macs == 7 * 5


def test_gemm_of_a_transposed_matrix() -> None:
    graph = GraphOfSizes()
    out = graph.node("Gemm", graph.node("Transpose", "x", perm=[1, 0]), graph.weight(7, 5), transA=1)
    assert count(graph.model({"x": ["N", 7]}, out)).macs == 7 * 5


def test_einsum_is_all_its_indices() -> None:
    graph = GraphOfSizes()
    out = graph.node("Einsum", "x", graph.weight(4, 6), equation="bij, jk -> bik")
    assert count(graph.model({"x": ["N", 3, 4]}, out)).macs == 3 * 4 * 6


def test_an_einsum_of_three_is_refused() -> None:
    graph = GraphOfSizes()
    out = graph.node("Einsum", "x", graph.weight(4, 6), graph.weight(6, 2), equation="bj,jk,kl->bl")
    with pytest.raises(ModelLoadError, match="bj,jk,kl->bl"):
        count(graph.model({"x": ["N", 4]}, out))


def test_attention_of_four_axes_and_of_three() -> None:
    products = 2 * 5 * 7 * (8 + 6)
    graph = GraphOfSizes()
    out = graph.node("Attention", "q", "k", "v")
    shapes: dict[str, list[int | str]] = {"q": ["N", 2, 5, 8], "k": ["N", 2, 7, 8], "v": ["N", 2, 7, 6]}
    assert count(graph.model(shapes, out, opset=23)).macs == products
    graph = GraphOfSizes()
    out = graph.node("Attention", "q", "k", "v", q_num_heads=2, kv_num_heads=2)
    shapes = {"q": ["N", 5, 16], "k": ["N", 7, 16], "v": ["N", 7, 12]}
    assert count(graph.model(shapes, out, opset=23)).macs == products


def test_integer_convolutions_count_as_others() -> None:
    graph = GraphOfSizes()
    out = graph.node("ConvInteger", "x", graph.weight(8, 3, 3, 3, kind=TensorProto.INT8), pads=[1] * 4)
    cost = count(graph.model({"x": ["N", 3, 4, 4]}, out, kind=TensorProto.UINT8))
    assert cost.macs == 4 * 4 * 8 * 27
    assert cost.weights == 8 * 27


def test_functions_are_looked_into() -> None:
    graph = GraphOfSizes()
    weight = graph.weight(3, 5)
    call = helper.make_node("Layer", ["x", weight], ["out"], domain="own")
    body = helper.make_node("MatMul", ["a", "b"], ["c"])
    function = helper.make_function("own", "Layer", ["a", "b"], ["c"], [body], [helper.make_opsetid("", 18)])
    graph.nodes.append(call)
    model = graph.model({"x": ["N", 3]}, "out")
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    assert count(model).macs == 15


def test_branches_have_no_one_cost() -> None:
    graph = GraphOfSizes()
    one = helper.make_graph([], "one", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    graph.nodes.append(helper.make_node("If", ["x"], ["out"], then_branch=one, else_branch=one))
    with pytest.raises(ModelLoadError, match=r"operator If|cannot be inferred"):
        count(graph.model({"x": ["N"]}, "out"))


def test_sizes_that_are_computed_are_followed() -> None:
    """Range and arithmetic on sizes, as torch exports as_strided; onnx's own inference stops there."""
    graph = GraphOfSizes()
    batch = graph.node("Squeeze", graph.node("Shape", "x", start=0, end=1))
    graph.weights += [
        helper.make_tensor(name, TensorProto.INT64, [], [n]) for name, n in (("zero", 0), ("one", 1))
    ]
    rows = graph.node("Gather", "x", graph.node("Range", "zero", batch, "one"))
    out = graph.node("Gemm", rows, graph.weight(7, 5))
    assert count(graph.model({"x": ["N", 7]}, out)).macs == 7 * 5


def test_contradicting_shapes_are_refused() -> None:
    graph = GraphOfSizes()
    out = graph.node("MatMul", "x", graph.weight(8, 5))
    with pytest.raises(ModelLoadError, match="cannot be inferred"):
        count(graph.model({"x": ["N", 7]}, out))

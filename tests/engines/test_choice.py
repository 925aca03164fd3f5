"""Which engine runs a file, and where: decided by format, wish and machine."""

from __future__ import annotations

import pytest

from beyond_serve.engines.choice import Choice, Machine, choose
from beyond_serve.errors import ModelLoadError


def machine(*, openvino: bool = True, gpus: int = 0, onnxruntime_cuda: bool = False) -> Machine:
    return Machine(lambda: openvino, lambda: gpus, lambda: onnxruntime_cuda)


LAPTOP, GPU_HOST = machine(), machine(gpus=2, onnxruntime_cuda=True)


@pytest.mark.parametrize(
    ("asked", "where", "chosen"),
    [
        (("a.onnx", "auto", "auto"), LAPTOP, ("openvino", "cpu")),
        (("a.onnx", "auto", "auto"), machine(openvino=False), ("onnxruntime", "cpu")),
        (("a.onnx", "auto", "auto"), machine(gpus=1), ("openvino", "cpu")),
        (("a.onnx", "auto", "auto"), GPU_HOST, ("onnxruntime", "cuda:0")),
        (("a.onnx", "auto", "auto"), machine(onnxruntime_cuda=True), ("openvino", "cpu")),
        (("a.onnx", "openvino", "auto"), GPU_HOST, ("openvino", "cpu")),
        (("a.onnx", "onnxruntime", "auto"), GPU_HOST, ("onnxruntime", "cuda:0")),
        (("a.onnx", "onnxruntime", "auto"), LAPTOP, ("onnxruntime", "cpu")),
        (("a.onnx", "auto", "cpu"), GPU_HOST, ("openvino", "cpu")),
        (("a.ONNX", "auto", "cuda:1"), GPU_HOST, ("onnxruntime", "cuda:1")),
        (("a.onnx", "auto", "cuda:1"), LAPTOP, ("onnxruntime", "cuda:1")),
        (("a.xml", "auto", "auto"), GPU_HOST, ("openvino", "cpu")),
        (("a.xml", "auto", "auto"), machine(openvino=False), ("openvino", "cpu")),
        (("a.plan", "auto", "auto"), GPU_HOST, ("tensorrt", "cuda:0")),
        (("a.plan", "auto", "auto"), LAPTOP, ("tensorrt", "cuda:0")),
        (("a.b/c.engine", "tensorrt", "cuda:1"), GPU_HOST, ("tensorrt", "cuda:1")),
        (("a.pt2", "auto", "auto"), LAPTOP, ("torch", "cpu")),
        (("a.pt2", "auto", "auto"), machine(gpus=1), ("torch", "cuda:0")),
        (("a.pt2", "torch", "cpu"), GPU_HOST, ("torch", "cpu")),
    ],
)
def test_the_best_that_can(asked: tuple[str, str, str], where: Machine, chosen: tuple[str, str]) -> None:
    assert choose(*asked, where) == Choice(*chosen)


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        (("a.onnx", "torch", "auto"), "torch cannot run the ONNX file 'a.onnx'", "openvino or onnxruntime"),
        (("a.xml", "onnxruntime", "auto"), "cannot run the OpenVINO IR file", "use --engine openvino"),
        (("a.plan", "openvino", "auto"), "cannot run the TensorRT file", "use --engine tensorrt"),
        (("a.pt2", "tensorrt", "auto"), "cannot run the PyTorch file", "use --engine torch"),
        (("a.plan", "auto", "cpu"), "the engine tensorrt does not run on cpu", "--device cuda"),
        (("a.xml", "auto", "cuda:0"), "the engine openvino does not run on cuda:0", "--device cpu"),
        (("a.onnx", "openvino", "cuda"), "the engine openvino does not run on cuda", "--device cpu"),
    ],
)
def test_what_cannot_be_is_told(asked: tuple[str, str, str], message: str, hint: str) -> None:
    with pytest.raises(ModelLoadError) as told:
        choose(*asked, GPU_HOST)
    assert message in told.value.message
    assert hint in (told.value.hint or "")


def test_a_machine_without_a_gpu_is_not_asked_for_more() -> None:
    def never() -> bool:
        raise AssertionError("imports onnxruntime for nothing")

    assert choose("a.onnx", "auto", "auto", Machine(lambda: True, lambda: 0, never)).device == "cpu"

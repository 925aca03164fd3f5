"""Building a plan with a TensorRT of our own."""

from __future__ import annotations

import _thread
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.graph import IMAGE_INPUT
from beyond_serve.engines.tensorrt import flavour
from beyond_serve.engines.tensorrt.build import BuiltPlan, PlanRequest, build_plan
from beyond_serve.engines.tensorrt.stamp import Stamp, read_stamp
from beyond_serve.errors import BeyondError, ConfigError, ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.models import SIZE, Net, write
from tests.engines.tensorrt.fake_builder import FakeBuilderTrt

ROW = [*SIZE, 3]
NET = Net()
Steps = list[tuple[str, int, int]]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeBuilderTrt]:
    monkeypatch.setattr(flavour, "require_device", lambda _: 0)
    for known in flavour.FLAVOURS:
        for name in known.modules:
            monkeypatch.setitem(sys.modules, name, None)

    def install(module: str = "tensorrt_rtx", *, flags: bool = False) -> FakeBuilderTrt:
        trt = FakeBuilderTrt(flags=flags)
        monkeypatch.setitem(sys.modules, module, trt)
        return trt

    return install


def build(tmp_path: Path, net: Net = NET, steps: Steps | None = None, **asked: object) -> BuiltPlan:
    description = describe_model(write(tmp_path / "net.onnx", net))
    request = PlanRequest(output=tmp_path / "net.plan", max_batch=8, normalization=Normalization())
    heard: Steps = [] if steps is None else steps
    return build_plan(description, replace(request, **asked), lambda *step: heard.append(step))


def written(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "net.plan").read_bytes()[4:])


def test_one_profile_from_one_image_to_the_largest_batch(installed, tmp_path: Path) -> None:
    installed()
    steps: Steps = []
    built = build(tmp_path, steps=steps, precision="fp32")
    assert written(tmp_path)["shapes"] == {IMAGE_INPUT: [[1, *ROW], [8, *ROW], [8, *ROW]]}
    assert built == BuiltPlan(
        "tensorrt-rtx-cu13 1.7.1.116", "fp32", (tmp_path / "net.plan").stat().st_size, (1, 8), ()
    )
    assert steps[-2:] == [("Building engine", 3, 3), ("Building engine", 3, 3)]
    build(tmp_path, precision="fp32", opt_batch=4)
    assert written(tmp_path)["shapes"][IMAGE_INPUT][1] == [4, *ROW]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_plan_tells_what_tensorrt_would_not(installed, tmp_path: Path, precision: str) -> None:
    installed()
    build(tmp_path, Net(softmax=True), precision=precision)
    assert read_stamp(written(tmp_path)["name"]) == Stamp(precision, ("probabilities",))


def test_fp32_is_not_tf32(installed, tmp_path: Path) -> None:
    trt = installed()
    build(tmp_path, precision="fp32")
    build(tmp_path, precision="fp16")
    assert [config.flags for config in trt.configs] == [set(), {"TF32"}]


def weight_types(proto) -> set[int]:
    return {tensor.data_type for tensor in proto.graph.initializer if not tensor.name.startswith(IMAGE_INPUT)}


def test_precision_is_in_the_model_where_the_builder_has_no_flags(installed, tmp_path: Path) -> None:
    trt = installed()
    for precision in ("fp32", "fp16", "bf16"):
        build(tmp_path, precision=precision)
    assert [weight_types(model) for model in trt.models] == [{1}, {10}, {16}]
    assert trt.network_flags == [1 << 1] * 3


def test_precision_is_a_flag_where_the_builder_has_them(installed, tmp_path: Path) -> None:
    trt = installed("tensorrt", flags=True)
    for precision in ("fp32", "fp16", "bf16"):
        build(tmp_path, precision=precision)
    assert [weight_types(model) for model in trt.models] == [{1}] * 3
    assert [config.flags for config in trt.configs] == [set(), {"TF32", "FP16"}, {"TF32", "BF16"}]
    assert trt.network_flags == [1 << 1, 0, 0]


def test_a_model_in_fp16_stays_so(installed, tmp_path: Path) -> None:
    trt = installed()
    assert build(tmp_path, Net(datatype="FP16"), precision="fp16").precision == "fp16"
    assert weight_types(trt.models[0]) == {10}
    with pytest.raises(ModelLoadError, match="in fp16 already, and is not converted to bf16") as caught:
        build(tmp_path, Net(datatype="FP16"), precision="bf16")
    assert caught.value.hint == "use --precision fp16"


@pytest.mark.parametrize(
    ("precision", "advice"), [("fp16", "--precision bf16"), ("bf16", "--precision fp32")]
)
def test_what_a_smaller_type_cannot_hold_is_not_built(
    installed, tmp_path: Path, precision: str, advice: str
) -> None:
    trt = installed()
    with pytest.raises(ModelLoadError, match=f"in {precision} the model answers otherwise") as caught:
        build(tmp_path, Net(delicate=True), precision=precision)
    assert advice in caught.value.hint
    assert trt.models == []
    assert not (tmp_path / "net.plan").exists()


def test_bf16_that_nobody_can_compare_is_a_warning(installed, tmp_path: Path, monkeypatch) -> None:
    installed()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert "nobody compared bf16 with fp32" in build(tmp_path, precision="bf16").warnings[0]
    assert build(tmp_path, precision="fp16").warnings == ()


def test_a_fixed_batch_needs_no_profile(installed, tmp_path: Path) -> None:
    installed()
    built = build(tmp_path, Net(batch=2))
    assert written(tmp_path)["shapes"] == {}
    assert built.batches == (2, 2)
    assert "fixed batch of 2" in built.warnings[0]


def test_compute_capabilities(installed, tmp_path: Path) -> None:
    trt = installed()
    build(tmp_path, compute_capabilities=("8.9", "12.0"))
    assert trt.configs[0].capabilities == ["SM89", "SM120"]
    build(tmp_path, compute_capabilities=("current",))
    assert trt.configs[1].capabilities == ["CURRENT"]


@pytest.mark.parametrize(
    ("asked", "complaint", "advice"),
    [
        ({"compute_capabilities": ("9.0",)}, "9.0: not known to TensorRT-RTX 1.7.1.116", "8.0, 8.9, 12.0"),
        ({"compute_capabilities": ("current", "8.9")}, "does not build for current, 8.9", "stands alone"),
        ({"max_batch": 0}, "--max-batch 0", "leave --opt-batch out"),
        ({"opt_batch": 9}, "--opt-batch 9 and --max-batch 8", "leave --opt-batch out"),
        ({"flavour": "tensorrt"}, "no TensorRT that can build", "pip install tensorrt-cu13"),
    ],
)
def test_what_cannot_be_meant(installed, tmp_path: Path, asked: dict, complaint: str, advice: str) -> None:
    installed()
    with pytest.raises(BeyondError, match=complaint) as caught:
        build(tmp_path, **asked)
    assert advice in caught.value.hint


def test_compute_capability_is_for_rtx_alone(installed, tmp_path: Path) -> None:
    installed("tensorrt")
    with pytest.raises(ConfigError, match="is TensorRT-RTX's") as caught:
        build(tmp_path, compute_capabilities=("8.9",))
    assert "--flavour rtx" in caught.value.hint


@pytest.mark.parametrize(
    ("call", "line", "complaint"),
    [
        (
            "parse",
            "Unsupported operator:\n EyeLike",
            "cannot read the model: node_7: Unsupported operator: EyeLike",
        ),
        ("add_optimization_profile", "", r"refuses the batch sizes \(1, 8, 8\)"),
        ("build_serialized_network", "Error Code 10: no kernel", "cannot build the model: no kernel"),
    ],
)
def test_what_the_builder_refuses(installed, tmp_path: Path, call: str, line: str, complaint: str) -> None:
    installed().refuses[call] = line
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        build(tmp_path)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_ctrl_c_ends_the_build_at_its_next_step(installed, tmp_path: Path) -> None:
    trt = installed()
    heard: list[bool] = []

    def interrupted() -> None:
        _thread.interrupt_main()
        monitor = trt.configs[0].progress_monitor
        # The monitor's answer is the builder's only way to hear of it, however late the other thread wakes.
        heard.append(any(not monitor.step_complete("Building engine", 0) for _ in range(3_000_000)))

    trt.while_building = interrupted
    description = describe_model(write(tmp_path / "net.onnx"))
    with pytest.raises(KeyboardInterrupt):
        build_plan(description, PlanRequest(tmp_path / "net.plan"), lambda *_: None)
    assert heard == [True]
    assert not (tmp_path / "net.plan").exists()


def test_nothing_half_written_is_left(installed, tmp_path: Path) -> None:
    installed()
    (tmp_path / "net.plan").mkdir()
    with pytest.raises(IsADirectoryError):
        build(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "net.plan"}

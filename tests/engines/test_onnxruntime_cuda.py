"""ONNX Runtime's engine for GPUs: its CPU provider in the fake GPU's memory, and what must be installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from beyond_serve.engines import onnxruntime_cuda
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.engine_info import batch_warning
from beyond_serve.engines.load import load_engine
from beyond_serve.engines.onnxruntime_cuda import load_onnxruntime_cuda
from beyond_serve.engines.onnxruntime_network import cuda_provider
from beyond_serve.errors import ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.cuda.fake_runtime import FakeRuntime
from tests.engines.models import Net, images, normalised, write
from tests.engines.onnxruntime_on_cpu import onnxruntime_on_cpu

BYTES = Net(datatype="UINT8", layout="NHWC")
"""Takes the host's rows as they are, so that the fake GPU needs no kernels."""


def config(source: str, **changes) -> EngineConfig:
    made = EngineConfig(source, engine="onnxruntime", precision="fp32", device="cuda:0", max_batch=4)
    return replace(made, normalization=Normalization(), **changes)


def on_cpu(source: str) -> dict[str, np.ndarray]:
    context = load_engine(EngineConfig(source, engine="onnxruntime", device="cpu")).create_context()
    return dict(infer(context, image_batch(images(6))))


# -- whole, with ONNX Runtime on the CPU ---------------------------------------------------------------


def test_images_give_what_they_give_on_the_cpu(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx", BYTES)
    engine = onnxruntime_on_cpu(config(source), FakeRuntime())
    context = engine.create_context()
    got = infer(context, image_batch(images(6)))
    np.testing.assert_allclose(got["logits"], on_cpu(source)["logits"], rtol=0, atol=1e-5)
    assert (engine.info.engine, engine.info.device, engine.info.precision) == (
        "onnxruntime",
        "cuda:0",
        "fp32",
    )
    assert engine.info.warnings == ()


def test_half_precision_tensors(tmp_path: Path) -> None:
    net = Net(datatype="FP16")
    source = write(tmp_path / "net.onnx", net)
    engine = onnxruntime_on_cpu(config(source, precision="auto"), FakeRuntime())
    got = infer(engine.create_context(), tensor_batch(normalised(images(3), net, Normalization())))
    cpu = load_engine(config(source, precision="auto", device="cpu"))
    cpu.prepare_tensors()
    want = infer(cpu.create_context(), tensor_batch(normalised(images(3), net, Normalization())))
    assert engine.info.precision == "fp16"
    assert got["logits"].dtype == np.float16
    np.testing.assert_allclose(got["logits"], want["logits"], rtol=0, atol=5e-3)


def test_a_batch_that_can_be_freed_is_freed(tmp_path: Path) -> None:
    source = write(tmp_path / "one.onnx", replace(BYTES, batch=1))
    engine = onnxruntime_on_cpu(config(source), FakeRuntime())
    assert engine.info.fixed_batch is None
    assert engine.info.warnings == (batch_warning(1, freed=True),)
    got = infer(engine.create_context(), image_batch(images(3)))
    np.testing.assert_allclose(got["logits"], on_cpu(source)["logits"][:3], rtol=0, atol=1e-5)


def test_a_batch_that_cannot_be_freed_is_padded(tmp_path: Path) -> None:
    source = write(tmp_path / "four.onnx", replace(BYTES, batch=4, rigid=True))
    engine = onnxruntime_on_cpu(config(source), FakeRuntime())
    assert engine.info.fixed_batch == 4
    got = infer(engine.create_context(), image_batch(images(6)))
    np.testing.assert_allclose(got["logits"], on_cpu(source)["logits"], rtol=0, atol=1e-5)


def test_sizes_that_the_file_leaves_open_are_found_by_running(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx", replace(BYTES, size=None))
    proto = onnx.load(source)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.save(proto, source)
    engine = onnxruntime_on_cpu(config(source, image_size=(12, 16)), FakeRuntime())
    assert [spec.shape for spec in engine.info.outputs] == [(-1, 5)]
    assert [spec.shape for spec in engine.info.inputs] == [(-1, 12, 16, 3)]
    assert infer(engine.create_context(), image_batch(images(2)))["logits"].shape == (2, 5)


def test_steady_state_takes_no_memory_and_nothing_stays(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    engine = onnxruntime_on_cpu(config(write(tmp_path / "net.onnx", BYTES)), runtime)
    contexts = [engine.create_context(), engine.create_context()]
    before = list(runtime.calls)
    for context in contexts:
        infer(context, image_batch(images(3)))
    assert runtime.calls == before
    engine.close()
    assert runtime.alive == 0


def test_a_model_that_onnxruntime_refuses_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx", replace(BYTES, batch=1))
    proto = onnx.load(source)
    proto.graph.node[1].op_type = "Unheard"
    onnx.save(proto, source)
    with pytest.raises(ModelLoadError, match=r"ONNX Runtime cannot load '.*net.onnx': .*Unheard"):
        onnxruntime_on_cpu(config(source), FakeRuntime())
    free = write(tmp_path / "free.onnx", BYTES)
    proto = onnx.load(free)
    proto.graph.node[1].op_type = "Unheard"
    onnx.save(proto, free)
    with pytest.raises(ModelLoadError, match=r"cannot load the model on CPUExecutionProvider: .*Unheard"):
        onnxruntime_on_cpu(config(free), FakeRuntime()).create_context()


# -- precision and what is installed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "capability", "runs"),
    [("auto", (9, 0), "tf32"), ("fp32", (9, 0), "fp32"), ("auto", (7, 5), "fp32")],
)
def test_tf32_is_never_unsaid(tmp_path: Path, asked: str, capability: tuple[int, int], runs: str) -> None:
    runtime = FakeRuntime()
    runtime.facts = replace(runtime.facts, capability=capability)
    info = onnxruntime_on_cpu(config(write(tmp_path / "net.onnx", BYTES), precision=asked), runtime).info
    assert info.precision == runs
    assert any("TF32" in line and "--precision fp32" in line for line in info.warnings) == (runs == "tf32")


def test_another_precision_than_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="its own precision, fp32, and not in fp16"):
        onnxruntime_on_cpu(config(write(tmp_path / "net.onnx", BYTES), precision="fp16"), FakeRuntime())


def test_the_build_for_cpus_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "net.onnx")
    monkeypatch.setattr(onnxruntime_cuda, "has_cuda_provider", lambda: False)
    with pytest.raises(ModelLoadError, match="without the CUDA provider") as raised:
        load_onnxruntime_cuda(config(source), describe_model(source))
    hint = raised.value.hint or ""
    assert "pip uninstall onnxruntime" in hint
    assert "onnxruntime-gpu[cuda,cudnn]" in hint
    assert "cannot both be installed" in hint


def test_an_old_build_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "net.onnx")
    description = describe_model(source)
    old = SimpleNamespace(__version__="1.20.1", InferenceSession=object)
    monkeypatch.setitem(sys.modules, "onnxruntime", old)  # type: ignore[arg-type]
    monkeypatch.setattr(onnxruntime_cuda, "has_cuda_provider", lambda: True)
    with pytest.raises(ModelLoadError, match=r"onnxruntime-gpu 1.20.1 is too old: 1.23 or newer"):
        load_onnxruntime_cuda(config(source), description)


def test_provider_options_are_explicit() -> None:
    (name, options), fallback = cuda_provider(1, tf32=False).on(77)
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {
        "device_id": "1",
        "user_compute_stream": "77",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
    assert cuda_provider(0, tf32=True).options["use_tf32"] == "1"

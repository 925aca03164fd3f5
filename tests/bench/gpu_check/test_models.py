"""Building side by side, and what is made of a built model, with builds and loops that are scripted."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.gpu_check import torch_loop
from beyond_serve.bench.gpu_check.build_child import BuildResult
from beyond_serve.bench.gpu_check.built import BuiltModel, built_models
from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.networks import ASKED, NETWORKS
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.parts import engines, models, others
from beyond_serve.bench.gpu_check.parts.engines import COLUMNS, Rates, accuracy_checks, rate_checks
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.engines.config import EngineConfig
from beyond_serve.preprocess.plan import Normalization
from tests.bench.gpu_check.fake_engine import World
from tests.engines.models import Net, normalised, write


def site(work: Path, *, quick: bool = False, device: int = 0) -> Site:
    return Site(device, work, quick, 100.0, time.monotonic())


def test_all_that_is_wanted(tmp_path: Path) -> None:
    wanted = models.wanted(site(tmp_path))
    assert [str(model) for model in wanted[:2]] == ["ViT-Base/16 bf16", "ResNet-50 bf16"]
    assert len({model.path for model in wanted}) == 2 * len(NETWORKS)
    assert [str(model) for model in models.wanted(site(tmp_path, quick=True))] == ["MobileNetV2 bf16"]


def test_each_build_counts_for_itself(tmp_path: Path) -> None:
    wanted = models.wanted(site(tmp_path))
    results = {
        wanted[0].path: BuildResult("", 50.0, 0.008, "timm 1"),
        wanted[1].path: BuildResult("PyTorch cannot compile the network"),
        wanted[3].path: BuildResult("", 60.0, 0.001, "timm 1"),
    }

    def build(model: BuiltModel, limit_s: float) -> BuildResult | None:
        assert 90 < limit_s <= 96
        Path(model.path).write_bytes(b"x" * 1000)
        return results.get(model.path)

    record = Recorder(tmp_path / "findings")
    models.build_all(site(tmp_path), record, wanted, build)
    assert built_models(tmp_path) == [wanted[0], wanted[3]]
    found = read_findings(tmp_path / "findings")
    assert {check.what: check.met for check in found.checks} == {
        "ViT-Base/16 bf16: is built": True,
        "ResNet-50 bf16: is built": False,
        "ViT-Base/16 fp16: is built": True,
    }
    assert len(found.skips) == 3
    assert found.tables[0].rows[0] == ["ViT-Base/16 bf16", 50.0, 0.001, 0.008, "timm 1"]


@pytest.mark.parametrize(
    ("code", "said", "result"),
    [
        (0, 'noise\n["", 50.0, 0.01, "timm 1"]\n', BuildResult("", 50.0, 0.01, "timm 1")),
        (0, '["it cannot"]', BuildResult("it cannot")),
        (-9, "noise", BuildResult("its process ended with -9")),
        (1, "", BuildResult("its process ended with 1")),
    ],
)
def test_what_a_build_says(code: int, said: str, result: BuildResult) -> None:
    assert models.read_result(code, said) == result


def test_another_device_is_the_only_one_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in models.compile_environment(site(tmp_path))
    assert models.compile_environment(site(tmp_path, device=1))["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert models.compile_environment(site(tmp_path, device=1))["CUDA_VISIBLE_DEVICES"] == "7"
    assert models.compile_environment(site(tmp_path))["TRITON_CACHE_DIR"].startswith(str(tmp_path))


def test_nothing_to_build_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "has_module", lambda name: False)
    with pytest.raises(NotHere, match="timm or torchvision"):
        models.run(site(tmp_path), Recorder(tmp_path / "findings"))


@pytest.mark.parametrize(
    ("ours", "torchs", "met"),
    [
        (8e-3, 9e-3, [True, True]),
        (8e-3, 1.2e-2, [True, True]),
        (1.1e-2, 9e-3, [False, True]),
        (1.7e-2, 1.5e-2, [False, True]),
        (2.0e-2, 1.5e-2, [False, False]),
        (float("nan"), 1e-3, [False, False]),
        (float("nan"), float("nan"), [False, False]),
    ],
)
def test_accuracy_is_asked_whatever_torch_does(ours: float, torchs: float, met: list[bool]) -> None:
    asked, beside = accuracy_checks("vit bf16", 1e-2, ours, torchs)
    assert [asked.met, beside.met] == met
    assert "beside torch's own" in beside.what


def test_rates() -> None:
    rates = [Rates(1, 900.0, 400.0, 1000.0), Rates(128, 9000.0, 9100.0, 8000.0)]
    share, rate = rate_checks("vit", rates, asked=True)
    assert (share.met, share.measured) == (False, "0.9")
    assert "worst batch (1)" in share.what
    assert (rate.met, rate.measured) == (True, "9,000 img/s")
    assert len(rate_checks("resnet", rates, asked=False)) == 1
    assert len((ASKED, *rates[0], rates[0].share)) == len(COLUMNS)


class _Loop:
    """torch's loop at a thousand rows a second."""

    def __init__(self, call: object, pixels: np.ndarray, index: int) -> None:
        self.batch = len(pixels)
        self.closed = False

    def seconds(self, times: int) -> float:
        return times * self.batch / 1000

    def rate(self, times: int) -> float:
        return 1000.0

    def close(self) -> None:
        self.closed = True


def test_rates_of_a_model_beside_torchs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_loop, "TorchLoop", _Loop)
    world = World()
    pixels = np.zeros((3, *world.engine.info.image_shape), np.uint8)
    calls = dict.fromkeys((engines.EAGER, engines.PACKAGE), lambda rows: rows)
    found = engines._rates(
        site(tmp_path), Opened(world.runtime, world.network, world.engine), calls, pixels, (0.001, 2)
    )
    assert (found.batch, found.eager, found.package) == (3, 1000.0, 1000.0)
    assert found.ours > 0
    world.engine.close()
    assert world.runtime.alive == 0


def test_another_engine(tmp_path: Path) -> None:
    """ONNX Runtime on the CPU stands for its CUDA provider."""
    net = Net()
    onnx = Path(write(tmp_path / "net.onnx", net))
    config = EngineConfig(str(onnx), engine="onnxruntime", device="cpu", normalization=Normalization())
    weights = {}

    def reference(pixels: np.ndarray) -> np.ndarray:
        from onnxruntime import InferenceSession

        session = weights.setdefault("session", InferenceSession(str(onnx)))
        name = session.get_inputs()[0].name
        scores = session.get_outputs()[0].name
        return session.run([scores], {name: normalised(pixels, net, Normalization())})[0]

    (_, batch, error), check = others.measure(
        others.Candidate("ONNX Runtime", lambda path: config, 1e-3), onnx, reference, 0.05, (1, 3)
    )
    assert batch > 1
    assert error < 1e-3
    assert check.met


def test_engines_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "has_module", lambda name: False)
    with pytest.raises(NotHere, match="neither TensorRT"):
        others.run(site(tmp_path), Recorder(tmp_path / "findings"))
    assert [skip.what for skip in read_findings(tmp_path / "findings").skips] == [
        "ONNX Runtime's CUDA provider",
        "TensorRT",
    ]
    monkeypatch.setattr(others, "has_module", lambda name: name == "tensorrt_rtx")
    (only,) = others.candidates(site(tmp_path), Recorder(tmp_path / "findings"))
    assert only.name == "TensorRT fp16"

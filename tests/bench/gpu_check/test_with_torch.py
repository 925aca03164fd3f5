"""What needs PyTorch, on the CPU: the reference, the tiny network, torch's own calls."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.gpu_check import networks, torch_loop
from beyond_serve.bench.gpu_check.build_child import build
from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.networks import NETWORKS, _quieten_residuals, _randomise_head
from beyond_serve.bench.gpu_check.parts import context
from beyond_serve.bench.gpu_check.reference import row_errors, worst
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.gpu_check.tiny import NORMALIZATION, SIZE, TorchReference, tiny_module

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), np.uint8)


def test_the_contexts_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MAX_BATCH", 6)
    site = Site(0, tmp_path, quick=True, limit_s=100, started=time.monotonic())
    context.check_context(site, Recorder(tmp_path / "findings"), "cpu", 2)
    found = read_findings(tmp_path / "findings")
    assert len(found.checks) == 4
    assert all(check.met for check in found.checks)


def test_torchs_own_call_computes_what_the_reference_does() -> None:
    reference = TorchReference(tiny_module())
    call = torch_loop.eager(tiny_module(), "fp32", NORMALIZATION, -1)
    assert worst(row_errors(torch_loop.scores(call, pixels(5), -1), reference(pixels(5)))) < 1e-5
    rough = torch_loop.eager(tiny_module(), "bf16", NORMALIZATION, -1)
    assert 1e-4 < worst(row_errors(torch_loop.scores(rough, pixels(5), -1), reference(pixels(5)))) < 0.1


def test_a_head_of_zeros_gets_weights() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    torch.nn.init.zeros_(module[1].weight)
    first = module[0].weight.clone()
    _randomise_head(torch, module)
    assert module[1].weight.abs().min() > 0
    assert torch.equal(module[0].weight, first)


def test_residual_blocks_add_less() -> None:
    timms = torch.nn.Module()
    timms.has_skip, timms.bn3 = True, torch.nn.BatchNorm2d(2)
    torchvisions = torch.nn.Module()
    torchvisions.use_res_connect, torchvisions.conv = True, torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    straight = torch.nn.Module()
    straight.has_skip, straight.bn3 = False, torch.nn.BatchNorm2d(2)
    _quieten_residuals(torch, torch.nn.ModuleList([timms, torchvisions, straight]))
    assert timms.bn3.weight.tolist() == torchvisions.conv[0].weight.tolist() == pytest.approx([0.2, 0.2])
    assert straight.bn3.weight.tolist() == [1.0, 1.0]


def test_weights_are_numbers_that_bf16_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_made", lambda source: (tiny_module(), "ours"))
    module, library = networks.make_module(NETWORKS[0])
    assert library == "ours"
    for weight in module.parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, weight.to(torch.bfloat16).to(torch.float32))
    again, _ = networks.make_module(NETWORKS[0])
    assert torch.equal(again[-1].weight, module[-1].weight)


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    found = build("no such network", "bf16", tmp_path / "a.pt2", "cpu")
    assert found.failure.startswith("StopIteration")
    found = build(NETWORKS[0].name, "int4", tmp_path / "a.pt2", "cpu")
    assert found.failure

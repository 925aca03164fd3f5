from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from beyond_serve.engines.cuda.probe import Driver
from beyond_serve.server import device_list
from beyond_serve.server.announce import announce_models
from beyond_serve.server.config import ModelConfig
from tests.fakes.engines import INFO


def said(device: str, instances: int) -> list[str]:
    info = replace(INFO, engine="tensorrt", precision="fp16", device=device)
    config = ModelConfig("vit", "vit.plan", instances=instances)
    model: Any = SimpleNamespace(name="vit", config=config, info=info, max_batch=64, line=None, labels=None)
    return list(announce_models([model], {}))


def test_engine_precision_and_each_device_with_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_list, "driver", lambda: Driver(("NVIDIA H200", "NVIDIA L4"), ""))
    first, second, *_ = said("cuda:0,cuda:1", 2)
    assert first == "vit: tensorrt fp16 on cuda:0 (NVIDIA H200), cuda:1 (NVIDIA L4)"
    assert second.startswith("  2 thread instances on each, ")
    first, second, *_ = said("cuda:0", 1)
    assert first == "vit: tensorrt fp16 on cuda:0 (NVIDIA H200)"
    assert second.startswith("  1 thread instance, ")

"""Keys of tables that no machine measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from beyond_serve.server.batch_costs.key import CostKey

KEY = CostKey(
    model="model.onnx",
    content="sha256 ab",
    engine="openvino",
    engine_version="2026.4",
    precision="bf16",
    device="cpu",
    image_shape=(224, 224, 3),
    threads=2,
    instances=1,
    instance_kind="thread",
    max_batch=8,
    cpu="some processor",
    version="1",
)


def key(**changes: Any) -> CostKey:
    return replace(KEY, **changes)

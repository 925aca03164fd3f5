"""Small PyTorch networks; only imported by tests that have PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from tests.engines.models import SIZE, Net, write

BATCH = 64


class Conv(nn.Module):
    """The same network, with the same weights, as `tests.engines.models.write` makes by default."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        proto = onnx.load(write(folder / "twin.onnx", Net()))
        weights = [torch.from_numpy(numpy_helper.to_array(one).copy()) for one in proto.graph.initializer]
        self.kernel, self.linear = (nn.Parameter(one) for one in weights)

    def forward(self, pixels: Any) -> Any:
        values = nn.functional.conv2d(pixels, self.kernel, stride=2, padding=1).relu()
        return {"logits": values.mean((2, 3)) @ self.linear}


class Vit(nn.Module):
    """Patches, one block of attention, a head."""

    def __init__(self, classes: int = 5, width: int = 16, patch: int = 4) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, classes)

    def forward(self, pixels: Any) -> Any:
        values = self.patches(pixels).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm(values)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.head((values + mixed.transpose(1, 2).flatten(2)).mean(1))


class Pool(nn.Module):
    """A convolution with a batch norm whose statistics matter."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.randn(8) / 10)
            self.norm.running_var.copy_(torch.rand(8) + 0.5)

    def forward(self, pixels: Any) -> Any:
        return self.head(self.norm(self.conv(pixels)).relu().mean((2, 3)))


@contextmanager
def quiet() -> Iterator[None]:
    """PyTorch's exporter and compiler warn of their own deprecations."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def program(
    module: nn.Module, *, size: tuple[int, int] = SIZE, dtype: Any = torch.float32, batch: int | None = None
) -> Any:
    """An exported program of [n, 3, H, W]; `batch` fixes n, else it is 1 to BATCH."""
    example = torch.zeros((batch or 2, 3, *size), dtype=dtype)
    dynamic = None if batch else ({0: torch.export.Dim("batch", min=1, max=BATCH)},)
    with quiet():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=dynamic)


def save(path: Path, exported: Any) -> str:
    with quiet():
        torch.export.save(exported, str(path))
    return str(path)


def compile_to(path: Path, exported: Any, metadata: dict[str, str] | None = None) -> str:
    settings = {"aot_inductor.metadata": metadata or {}, "cpp.dynamic_threads": True}
    with quiet():
        torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=settings)
    return str(path)


def answers(module: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Of float32 [n, 3, H, W]."""
    with torch.no_grad():
        result = module(torch.from_numpy(rows))
    return (result["logits"] if isinstance(result, dict) else result).numpy()

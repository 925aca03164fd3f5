"""One model run in the bench's own process, by the project's engines, without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.bench.resnet import build_resnet50
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.load import load_engine
from beyond_serve.engines.protocol import IMAGE, Engine, ExecutionContext, tensor_key
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.preprocess.presets import load_plan

RESNET50 = "resnet50"
Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model's file, and how its images are made."""

    name: str
    path: str
    plan: PreprocessPlan

    @property
    def tensor_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the float32 rows that pipelines make for it."""
        height, width, channels = self.plan.output_shape
        return channels, height, width

    def load(self, engine: str = "auto", precision: str = "auto", instances: int = 1) -> Engine:
        """Ready for images and for tensors. The instances divide the cores.

        Raises:
            ModelLoadError: this engine cannot run it, or not in this precision.
        """
        loaded = load_engine(
            EngineConfig(
                self.path,
                engine=engine,
                precision=precision,
                instances=instances,
                image_size=self.plan.output_shape[:2],
                normalization=self.plan.normalization,
            )
        )
        loaded.prepare_tensors()
        return loaded


def local_model(source: str, folder: Path) -> LocalModel:
    """`source`: demo, a file, or resnet50: random weights, written into `folder`.

    Raises:
        ConfigError: no such file, or a model whose input is not float32 RGB [n, 3, H, W].
        ModelLoadError: the file is no model.
    """
    name = Path(source).stem
    if source == "demo":
        path = demo_model()
    elif source == RESNET50 and not Path(source).exists():
        path = folder / "resnet50.onnx"
        build_resnet50(path)
    else:
        path = Path(source)
        if not path.is_file():
            raise ConfigError(f"no model is at '{source}'", f"give a file, demo, or {RESNET50}")
    described = describe_model(str(path))
    plan, _ = load_plan(path, described.image_size)
    model = LocalModel(name, str(path), plan)
    row, wanted = described.inputs[0].shape[1:], model.tensor_shape
    fits = len(row) == 3 and all(size in (-1, want) for size, want in zip(row, wanted, strict=True))
    if described.inputs[0].datatype != "FP32" or not fits or plan.normalization.channel_order != "RGB":
        raise ConfigError(
            f"'{source}' takes {described.inputs[0].datatype} {list(row)} "
            f"{plan.normalization.channel_order}, not FP32 {list(wanted)} RGB",
            "this experiment compares pipelines that make float32 RGB, channels first",
        )
    return model


class Block:
    """Rows that lie side by side already: nothing is copied to make a batch of them."""

    def __init__(self, array: Array) -> None:
        self.key: object = IMAGE if array.dtype == np.uint8 else tensor_key(array.shape[1:])
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def stacked(self) -> Array:
        return self._array

    def rows(self) -> Sequence[Array | bytes]:
        return list(self._array)

    def runs(self) -> Sequence[Array]:
        return [self._array]


def infer(context: ExecutionContext, array: Array) -> Mapping[str, Array]:
    """uint8 [n, H, W, 3] is normalised by the graph, float32 [n, 3, H, W] is the model's own tensor.

    Raises:
        EngineError: the batch failed.
    """
    return context.infer(Block(array), BatchTiming())

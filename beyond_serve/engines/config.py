"""What an engine is asked to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beyond_serve.preprocess.plan import Normalization


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One model on one device. Frozen; crosses to child processes by pickle.

    Attributes:
        source: path of .onnx, .xml, .plan, .engine or .pt2, or "null:", "null:224", "sim:table.json".
        engine: auto | openvino | onnxruntime | tensorrt | torch.
        precision: auto | fp32 | bf16 | fp16 | int8.
        device: auto | cpu | cuda:N | sim:N (an emulated one, of `sim:` models).
        threads: CPU threads of one context; 0 divides the cores among the instances.
        instances: contexts that run at the same time.
        max_batch: the largest batch to be ready for; a larger one still runs.
        image_size: (H, W) of the host's images; None takes the model's, or 224x224 where that is free.
        trust_plan: run host code that a TensorRT plan brings with it.
        normalization: from the plan, goes into the engine's graph; None leaves 0 to 255.
    """

    source: str
    engine: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    threads: int = 0
    instances: int = 1
    max_batch: int = 32
    trust_plan: bool = False
    image_size: tuple[int, int] | None = None
    normalization: Normalization | None = None

"""`null:` and `null:224`: no inference at all, to measure everything around it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.fixed_scores import FixedScores
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import BatchRows, EngineInfo, TensorSpec
from beyond_serve.errors import ModelLoadError

CLASSES = 10
LARGEST_SIDE = 16384


@dataclass(frozen=True, slots=True)
class NullSource:
    """size: (H, W) that the host's preprocessing makes; None if encoded bytes are taken as they are."""

    size: tuple[int, int] | None

    def facts(self) -> GraphFacts:
        inputs = () if self.size is None else (TensorSpec("input", "FP32", (-1, 3, *self.size)),)
        outputs = (TensorSpec("scores", "FP32", (-1, CLASSES)),)
        return GraphFacts(inputs, outputs, frozenset({"scores"}), quantized=False)


def parse_null(source: str) -> NullSource:
    """Read "null:", "null:224" or "null:224x320" (height x width).

    Raises:
        ModelLoadError: it is none of these.
    """
    text = source.removeprefix("null:")
    if not text:
        return NullSource(None)
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if match is not None:
        height = int(match[1])
        width = int(match[2] or height)
        if min(height, width) > 0 and max(height, width) <= LARGEST_SIDE:
            return NullSource((height, width))
    raise ModelLoadError(f"'{source}' is no null engine", "write null:, null:224 or null:224x320")


class NullContext:
    def __init__(self, scores: FixedScores) -> None:
        self._scores = scores

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        """[n, 10] probabilities, all for class 0. Touches no row."""
        timing.copied_in = timing.inferred = timing.copied_out = time.monotonic_ns()
        return {"scores": self._scores.take(len(batch))}

    def close(self) -> None:
        pass


class NullEngine:
    """Answers at once, the same for all."""

    def __init__(self, source: NullSource, max_batch: int) -> None:
        facts = source.facts()
        self.info = EngineInfo(
            engine="null",
            precision="fp32",
            device="cpu",
            inputs=facts.inputs,
            outputs=facts.outputs,
            image_shape=None if source.size is None else (*source.size, 3),
            takes_encoded=source.size is None,
            scores="scores",
            scores_are_probabilities=True,
            simulated=True,
            inline=True,
        )
        row = np.zeros(CLASSES, np.float32)
        row[0] = 1
        self._scores = FixedScores(row, max_batch)

    def create_context(self) -> NullContext:
        return NullContext(self._scores)

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Read where they lie, as they are."""

    def prepare_tensors(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to release."""

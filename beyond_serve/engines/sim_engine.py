"""`sim:table.json`: an emulated accelerator that takes a table's time and no CPU."""

from __future__ import annotations

import bisect
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.fixed_scores import FixedScores
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import BatchRows, EngineInfo, TensorSpec
from beyond_serve.errors import ModelLoadError

_KEYS = ("name", "input", "classes", "latency_ms")
_HINT = (
    'write {"name": "vit-like", "input": [224, 224, 3], "classes": 1000, "latency_ms": {"1": 3.5, "8": 6.8}}'
)
LARGEST_SIDE = 16384
MOST_CLASSES = 1_000_000


@dataclass(frozen=True, slots=True)
class SimTable:
    """latencies: (batch size, milliseconds), sizes ascending from 1, milliseconds never falling."""

    name: str
    input: tuple[int, int, int]
    classes: int
    latencies: tuple[tuple[int, float], ...]

    def latency_ms(self, batch: int) -> float:
        """Linear between entries, and with the last two's slope beyond them.

        A table of one entry grows in proportion: nothing says that batching would pay.
        """
        sizes = [size for size, _ in self.latencies]
        if len(sizes) == 1:
            return self.latencies[0][1] * batch
        right = min(max(bisect.bisect_left(sizes, batch), 1), len(sizes) - 1)
        (size0, ms0), (size1, ms1) = self.latencies[right - 1], self.latencies[right]
        return ms0 + (ms1 - ms0) * (batch - size0) / (size1 - size0)

    def facts(self) -> GraphFacts:
        height, width, channels = self.input
        inputs = (TensorSpec("input", "FP32", (-1, channels, height, width)),)
        outputs = (TensorSpec("logits", "FP32", (-1, self.classes)),)
        return GraphFacts(inputs, outputs, frozenset(), quantized=False)


def read_sim_table(source: str) -> SimTable:
    """Read the table of "sim:PATH".

    Raises:
        ModelLoadError: the file is missing or is no such table; the message names the key.
    """
    path = source.removeprefix("sim:")
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelLoadError(
            f"cannot read the table '{path}': {error.strerror}", "check the path after sim:"
        ) from error
    except ValueError as error:
        raise ModelLoadError(f"'{path}' is not valid JSON: {error}", _HINT) from error
    try:
        return _parse(table)
    except ValueError as error:
        raise ModelLoadError(f"'{path}' is no table of an emulated accelerator: {error}", _HINT) from error


def _parse(table: Any) -> SimTable:
    if not isinstance(table, dict):
        raise ValueError("it is no JSON object")
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"unknown key '{key}'")
    for key in _KEYS:
        if key not in table:
            raise ValueError(f"the key '{key}' is missing")
    if not isinstance(table["name"], str) or not table["name"]:
        raise ValueError("'name' must be a text that is not empty")
    if not _whole(table["classes"], MOST_CLASSES):
        raise ValueError(f"'classes' must be a whole number from 1 to {MOST_CLASSES}")
    return SimTable(table["name"], _input(table["input"]), table["classes"], _latencies(table["latency_ms"]))


def _whole(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _input(value: Any) -> tuple[int, int, int]:
    if isinstance(value, list) and len(value) == 3 and value[2] == 3:
        height, width, _ = value
        if _whole(height, LARGEST_SIDE) and _whole(width, LARGEST_SIDE):
            return (height, width, 3)
    raise ValueError(f"'input' must be [height, width, 3], sides from 1 to {LARGEST_SIDE}, not {value!r}")


def _latencies(value: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, dict) or not value:
        raise ValueError("'latency_ms' must be an object of batch sizes and milliseconds")
    entries: list[tuple[int, float]] = []
    for size, ms in value.items():
        if not (size.isascii() and size.isdigit() and 0 < int(size) <= MOST_CLASSES):
            raise ValueError(
                f"'latency_ms' has the batch size {size!r}, which is no whole number of at least 1"
            )
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not (math.isfinite(ms) and ms > 0):
            raise ValueError(f"'latency_ms' of batch size {size} must be a number above 0, not {ms!r}")
        entries.append((int(size), float(ms)))
    entries.sort()
    if entries[0][0] != 1:
        raise ValueError("'latency_ms' must have the batch size 1")
    for (size0, ms0), (size1, ms1) in itertools.pairwise(entries):
        if size0 == size1:
            raise ValueError(f"'latency_ms' has the batch size {size0} twice")
        if ms1 < ms0:
            raise ValueError(f"'latency_ms' falls from {ms0:g} at batch size {size0} to {ms1:g} at {size1}")
    return tuple(entries)


class SimContext:
    def __init__(
        self, table: SimTable, scores: FixedScores, sleep: Callable[[float], None], clock: Callable[[], int]
    ) -> None:
        self._table = table
        self._scores = scores
        self._sleep = sleep
        self._clock = clock

    def infer(self, batch: BatchRows, timing: BatchTiming) -> Mapping[str, NDArray[np.generic]]:
        """Wait until the table's latency after the call, without holding the GIL; touch no row.

        The deadline is absolute, so that what the call itself costs is not added to it. The kernel
        wakes the thread about 0.1 ms late; spinning that away would take the CPU that is measured.
        """
        now = timing.copied_in = self._clock()
        deadline = now + round(self._table.latency_ms(len(batch)) * 1e6)
        while now < deadline:
            self._sleep((deadline - now) / 1e9)
            now = self._clock()
        timing.inferred = timing.copied_out = now
        return {"logits": self._scores.take(len(batch))}

    def close(self) -> None:
        pass


class SimEngine:
    """Sleeps as long as the table says and answers fixed logits: class 0 best, then 1, 2, …

    device: "sim:N" for one of several emulated devices, which do not slow each other down; anything else
    for the only one.
    """

    def __init__(
        self,
        table: SimTable,
        max_batch: int,
        device: str = "auto",
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        facts = table.facts()
        self.info = EngineInfo(
            engine="sim",
            precision="fp32",
            device=device if device.startswith("sim:") else f"simulated {table.name}",
            inputs=facts.inputs,
            outputs=facts.outputs,
            image_shape=table.input,
            scores="logits",
            simulated=True,
            batch_ns=tuple((size, ms * 1e6) for size, ms in table.latencies),
            warnings=(f"simulated: '{table.name}' is a table of latencies, and its answers are made up",),
        )
        self._table = table
        self._sleep = sleep
        self._clock = clock
        self._scores = FixedScores(-np.arange(table.classes, dtype=np.float32), max_batch)

    def create_context(self) -> SimContext:
        return SimContext(self._table, self._scores, self._sleep, self._clock)

    def adopt_rows(self, rows: NDArray[np.uint8]) -> None:
        """Read where they lie, as they are."""

    def prepare_tensors(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to release."""

"""The parts of a server alone, measured on small work."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
import pytest

from beyond_serve.batching import BatchTiming
from beyond_serve.bench.images import SMALL, paper_image
from beyond_serve.bench.parts import infer_rate, main, measure_parts, parts_from_json, preprocess_rate
from beyond_serve.engines.null_engine import NullEngine, NullSource
from beyond_serve.engines.protocol import BatchRows
from beyond_serve.errors import BeyondError, EngineError
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import PreprocessPlan

SECONDS = 0.01


def test_preprocessing_alone() -> None:
    rate = asyncio.run(preprocess_rate(HostPreprocessor(PreprocessPlan()), paper_image(SMALL), SECONDS, 1))
    assert rate.per_s > 0
    assert rate.cpu_s > 0


def test_an_image_that_is_none_ends_it() -> None:
    body = paper_image(SMALL)
    with pytest.raises(BeyondError):
        asyncio.run(preprocess_rate(HostPreprocessor(PreprocessPlan()), body[:300], SECONDS, 1))


class CountingEngine(NullEngine):
    """Counts its contexts; each refuses its first batch if `broken`."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(NullSource((8, 8)), 4)
        self.broken = broken
        self.contexts = 0
        self.sizes: set[int] = set()

    def create_context(self) -> CountingEngine:  # type: ignore[override]
        self.contexts += 1
        return self

    def infer(self, batch: BatchRows, timing: BatchTiming) -> dict[str, np.ndarray]:
        if self.broken:
            raise EngineError("broken")
        self.sizes.add(len(batch.stacked()))
        return {}


def test_inference_alone_takes_full_batches_in_every_context() -> None:
    engine = CountingEngine()
    rate = infer_rate(engine, (8, 8, 3), SECONDS, batch=4, contexts=2)  # type: ignore[arg-type]
    assert rate.per_s > 0
    assert (engine.contexts, engine.sizes) == (2, {4})


def test_a_broken_context_does_not_leave_the_others_waiting() -> None:
    with pytest.raises(EngineError, match="broken"):
        infer_rate(CountingEngine(broken=True), (8, 8, 3), SECONDS, contexts=2)  # type: ignore[arg-type]


def test_parts_of_a_server_by_its_flags() -> None:
    found = measure_parts(
        ["--model", "null:224", "--decode-threads", "1", "--max-batch", "8"], [paper_image(SMALL)], SECONDS
    )
    assert found.preprocess is not None
    assert found.infer is not None
    assert (found.batch, found.decode_threads, found.instances, found.simulated) == (8, 1, 1, True)
    assert not found.on_cpu
    assert parts_from_json(orjson.dumps(asdict(found))) == found


def test_an_engine_that_takes_the_bytes_has_no_parts() -> None:
    found = measure_parts(["--model", "null:"], [paper_image(SMALL)], SECONDS)
    assert (found.preprocess, found.infer) == (None, None)
    assert parts_from_json(orjson.dumps(asdict(found))) == found


class StandardInput:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_the_program_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"flags": ["--model", str(tmp_path / "missing.onnx")], "image_files": [], "seconds": SECONDS}
    monkeypatch.setattr(sys, "stdin", StandardInput(json.dumps(asked).encode()))
    assert main() == 2
    assert "missing.onnx" in capsys.readouterr().err

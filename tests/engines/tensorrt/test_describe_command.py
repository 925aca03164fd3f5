"""`beyond-models describe` of a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.server.models_command import main
from tests.engines.cuda.fake_network import CLASSES
from tests.engines.tensorrt.fake_trt import DataType, FakePlan


def test_a_plan_says_which_batches_it_takes(
    installed, plan_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = (3, 12, 16)
    inputs = {"pixels": (DataType.FLOAT, (-1, *sides))}
    outputs = {"logits": (DataType.FLOAT, (-1, CLASSES))}
    installed(FakePlan(inputs, outputs, (((1, *sides), (8, *sides)),)))
    assert main(["describe", str(plan_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "profile 0 1x3x12x16 to 8x3x12x16" in said
    assert "computes in what its builder chose" in said
    assert "runs here tensorrt on cuda:0" in said

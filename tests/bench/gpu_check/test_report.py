"""The report folder and what is kept of a part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.bench.gpu_check import report
from beyond_serve.bench.gpu_check.figures import Check
from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.part import PARTS
from beyond_serve.bench.gpu_check.plan import Outcome
from beyond_serve.bench.runs.tables import NOTHING, Table
from beyond_serve.errors import ConfigError


def outcomes(folder: Path) -> list[Outcome]:
    record = Recorder(folder / "findings")
    record.facts({"driver": "580", "sizes": np.array([1, 2]), "gib": np.float32(2)})
    record.table("Rates", ("model", "img/s"), [("a|b", 1234.5), ("c", float("nan"))], ["of three rounds"])
    record.table("Nothing", ("model",), [])
    record.check(Check("share", ">= 0.9", "0.95", True))
    record.check(Check("error", "< 0.01", "0.02", False))
    record.skip("TensorRT", "not installed: tensorrt")
    record.note("two won")
    record.complete()
    found = read_findings(folder / "findings")
    assert found.complete
    return [
        Outcome(PARTS[0], "failed", "", 12.34, found, "Traceback\n  here\n"),
        Outcome(PARTS[-1], "skipped", "not installed: orjson", 0.0),
    ]


ABOUT = {
    **dict.fromkeys(("cpu", "cores", "memory_gib", "system", "python", "time", "beyond-serve"), "x"),
    "gpu": "NVIDIA H200",
    "command": "scripts/gpu-check",
}


def test_json(tmp_path: Path) -> None:
    found = json.loads(report.as_json(outcomes(tmp_path), ABOUT, "complete"))
    assert found["status"] == "complete"
    assert found["verdicts"][1] == {
        "part": "machine", "what": "error", "asked": "< 0.01", "measured": "0.02", "met": False,
    }  # fmt: skip
    first, last = found["parts"]
    assert first["tables"][0]["rows"] == [["a|b", 1234.5], ["c", None]]
    assert first["facts"] == {"driver": "580", "sizes": [1, 2], "gib": 2.0}
    assert (last["status"], last["why"]) == ("skipped", "not installed: orjson")


def test_markdown(tmp_path: Path) -> None:
    found = report.as_markdown(outcomes(tmp_path), ABOUT, "interrupted")
    assert found.startswith("# gpu-check on NVIDIA H200\n\n`scripts/gpu-check`, x, interrupted.")
    assert "| machine | error | < 0.01 | 0.02 | NOT MET |" in found
    assert "| machine | TensorRT | not installed: tensorrt |" in found
    assert f"| http | {PARTS[-1].title} | not installed: orjson |" in found
    assert f"| a\\|b | 1,234 |\n| c | {NOTHING} |\n\nof three rounds" in found
    assert "* two won" in found
    assert "    Traceback\n      here\n" in found
    assert "Nothing" not in found


def test_markdown_of_nothing_yet() -> None:
    assert "## Parts\n\nNone.\n" in report.as_markdown([], ABOUT, "running")


def test_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "gpu"
    report.write_report(folder, outcomes(tmp_path), ABOUT, "complete")
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]


def test_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to"):
        report.write_report(tmp_path / "file", [], ABOUT, "complete")


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "findings"
    Recorder(path).note("whole")
    with path.open("a") as file:
        file.write('["note", "ha')
    found = read_findings(path)
    assert found.notes == ["whole"]
    assert not found.complete
    assert read_findings(tmp_path / "none").notes == []


def test_slug() -> None:
    assert report.slug("NVIDIA H200") == "nvidia-h200"
    assert report.slug("Tesla V100-SXM2-16GB") == "tesla-v100-sxm2-16gb"
    assert report.slug("???") == "gpu"


def test_text() -> None:
    lines = report.text(Table("t", ("model", "img/s"), [("vit", 9000.0), ("resnet", None)]))
    assert lines == ["model   img/s", "vit     9,000", f"resnet  {NOTHING}"]

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.demo.location import demo_model
from beyond_serve.server.batch_costs.key import cost_key
from beyond_serve.server.batch_costs.store import CostStore
from beyond_serve.server.models_command import main
from tests.fakes.engines import INFO


def model(folder: Path) -> Path:
    path = folder / "digits.onnx"
    path.write_bytes(demo_model().read_bytes())
    return path


def said(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["describe", str(path)]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_model_never_served_here_says_how_its_table_comes_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = said(model(tmp_path), capsys)[-1]
    assert last.startswith("batch costs: none for this file on this machine yet")
    assert f"beyond-serve --model {tmp_path}/digits.onnx" in last
    assert last.endswith(f"{tmp_path}/digits.costs.json")


def test_the_stored_table_is_shown_with_its_knee(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model(tmp_path)
    key = cost_key(path, INFO, threads=2, instances=2, instance_kind="thread", max_batch=8)
    CostStore(path).save(key, {1: 2e6, 2: 3e6, 4: 4e6, 8: 8e6})
    lines = said(path, capsys)
    title = lines.index(
        "batch costs: fake fp32 on cpu, 2 instances at once (thread, 2 threads each), batches up to 8"
    )
    assert lines[title + 1 :] == [
        "batch ms images/s",
        "1 2.000 1000",
        "2 3.000 1333",
        "4 4.000 2000 knee: within 5 % of the best",
        "8 8.000 2000",
    ]


def test_a_table_of_another_content_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model(tmp_path)
    (tmp_path / "other").write_bytes(b"other")
    key = cost_key(tmp_path / "other", INFO, threads=2, instances=1, instance_kind="thread", max_batch=8)
    CostStore(path).save(key, {1: 2e6})
    assert "none for this file" in said(path, capsys)[-1]


def test_an_engine_that_computes_nothing_has_no_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "null:"]) == 0
    assert "batch costs: not measured, since nothing is computed" in capsys.readouterr().out

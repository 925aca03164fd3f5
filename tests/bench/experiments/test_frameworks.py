"""Networks that can run, steps of preprocessing, and what the points say beside the paper."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.bench.experiments import frameworks
from beyond_serve.bench.experiments.frameworks.figures import (
    best,
    by_framework,
    cumulative_ms,
    over_network,
    plots,
    tables,
)
from beyond_serve.bench.experiments.frameworks.measure import (
    ALL,
    DECODE,
    NETWORK,
    NORMALISE,
    OURS,
    RESIZE,
    THEIRS,
    Split,
    asked_batches,
    decode_share,
    probe_rows,
)
from beyond_serve.bench.experiments.frameworks.networks import (
    ONNX_RUNTIME,
    Network,
    answers_differ,
    networks,
    torch_network,
)
from beyond_serve.bench.experiments.local_model import local_model
from beyond_serve.errors import ConfigError
from tests.bench.experiments.points import run_of


def test_the_demo_runs_in_what_is_installed_and_gives_the_same_answers(tmp_path: Path) -> None:
    model = local_model("demo", tmp_path)
    with contextlib.ExitStack() as stack:
        found, told = networks(model, None, stack)
        assert found[0].name == ONNX_RUNTIME
        assert any(line.startswith("PyTorch: no file") for line in told)
        rows = probe_rows(model)
        assert rows.shape == (2, 3, 32, 32)
        assert answers_differ(found, rows) == []
        assert found[0].info is not None
        wrong = Network("wrong", lambda rows: {"logits": np.eye(10, dtype=np.float32)[: len(rows)]})
        (line,) = answers_differ([found[0], wrong], rows)
        assert line.startswith(f"DIFFERENT ANSWERS, wrong against {ONNX_RUNTIME}: the output ")


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--torch needs torch"):
        torch_network(tmp_path / "model.pt2", ("logits",))


def test_batches_are_sorted() -> None:
    assert asked_batches("64,1,8,8") == [1, 8, 64]


@pytest.mark.parametrize("text", ["", "0", "x", "1,9999"])
def test_no_batch_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="no list of batch sizes"):
        asked_batches(text)


def test_two_images_are_too_many() -> None:
    given = argparse.Namespace(batches="1", sizes="small,small", seed=0, quick=True)
    with pytest.raises(ConfigError, match="one image"):
        frameworks.run(given, run_of(), None)  # type: ignore[arg-type]


def test_our_call_is_divided_by_its_own_clock() -> None:
    first, second = Split(), Split()
    first.decode_ns, first.transform_ns = 60, 40
    second.decode_ns, second.transform_ns = 100, 0
    assert decode_share([first, second]) == pytest.approx(0.8)
    assert decode_share([]) == 0.0


def network(what: str, batch: int, rate: float) -> dict[str, Any]:
    return measured({"part": "network", "what": what, "batch": batch}, rate)


def step(what: str, name: str, rate: float, **more: float) -> dict[str, Any]:
    found = measured({"part": "breakdown", "what": what, "step": name}, rate)
    return found | {"threads": 2, "batch": 64, "engine": "openvino fp32"} | more


def measured(labels: dict[str, Any], rate: float) -> dict[str, Any]:
    spread = {"low": rate * 0.9, "high": rate * 1.1, "rounds": 3}
    times = {"cpu_s": 2 / rate, "others_cpu": 0.0}
    return {"labels": labels, "images_per_s": rate, "model": "demo"} | spread | times


def a_run() -> Any:
    return run_of(
        network("ONNX Runtime fp32", 1, 100.0),
        network("ONNX Runtime fp32", 64, 200.0),
        network("OpenVINO bf16", 64, 800.0),
        step(THEIRS, DECODE, 500.0),
        step(THEIRS, RESIZE, 400.0),
        step(THEIRS, NORMALISE, 250.0),
        step(THEIRS, ALL, 200.0),
        step(THEIRS, NETWORK, 1000.0),
        step(OURS, ALL, 500.0, decode_share=0.75),
        step(OURS, NETWORK, 250.0),
    )


def test_each_framework_is_told_at_its_best_batch() -> None:
    assert best(by_framework(a_run())["ONNX Runtime fp32"]) == (64, 200.0)
    told = {figure.what: figure.ours(a_run()) for figure in frameworks.EXPERIMENT.published}
    assert told["fastest over slowest"] == "4.00x, OpenVINO bf16 over ONNX Runtime fp32"
    assert told["PyTorch, images/s"] is None
    assert told["preprocessing over network, time"] == "5.00x (PyTorch-style), 0.5x (ours)"
    assert told["decoding alone over network, time"] == "2.00x (PyTorch-style), 0.375x (ours)"


def test_steps_add_up_and_ours_normalises_in_the_graph() -> None:
    theirs, ours = cumulative_ms(a_run(), THEIRS), cumulative_ms(a_run(), OURS)
    assert theirs == {DECODE: 2.0, RESIZE: 2.5, NORMALISE: 4.0, ALL: 5.0, NETWORK: 1.0}
    assert ours == {DECODE: 1.5, RESIZE: 2.0, NORMALISE: 2.0, ALL: 2.0, NETWORK: 4.0}
    assert cumulative_ms(a_run(), OURS, cpu=True)[ALL] == pytest.approx(4.0)
    assert over_network({ALL: 1.0}) is None


def test_tables_say_what_bounds() -> None:
    rates, steps = tables(a_run())
    assert rates.rows[0] == ("ONNX Runtime fp32", 100.0, 200.0, "200 at 64")
    assert rates.rows[1] == ("OpenVINO bf16", None, 800.0, "800 at 64")
    assert [row[-1] for row in steps.rows[:2]] == ["5.00x, preprocessing-bound", "0.5x, network-bound"]


def test_interrupted_runs_are_drawn_too() -> None:
    for run in (run_of(), run_of(*a_run().points[:4]), a_run()):
        assert [figure.name for figure in plots(run)] == ["frameworks", "breakdown"]
    assert tables(run_of()) == []
    assert all(figure.ours(run_of()) is None for figure in frameworks.EXPERIMENT.published)

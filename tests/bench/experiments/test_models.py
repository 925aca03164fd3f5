"""Models over what they cost: the networks made here, the shares, tables and plots."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from beyond_serve.bench.experiments.models import EXPERIMENT
from beyond_serve.bench.experiments.models.figures import (
    crossing,
    half_point,
    models_of,
    range_above,
    resnet50,
)
from beyond_serve.bench.experiments.models.measure import MODELS, QUICK_MODELS, bounded, costed, parts_us, run
from beyond_serve.bench.experiments.models.nets import FAMILY, MadeNet, cnn, mixer, write_nets
from beyond_serve.bench.experiments.models.source import named_or_made
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.load import load_engine
from beyond_serve.errors import ConfigError
from beyond_serve.zoo.cost import count
from tests.bench.experiments.points import load, run_of, table

CNN_STAGE = 56**2 * 9 * (2 * 4 + 2 * 4 * 4)
"""Of width 2; in each stage pixels fall and channels rise by as much."""


@pytest.mark.parametrize(
    ("net", "macs"),
    [
        (cnn(2), 112**2 * 27 * 2 + 4 * CNN_STAGE + 32 * 1000),
        (mixer(16, 1), 196 * 768 * 16 + 2 * 16 * 196 * 8 + 2 * 196 * 16 * 64 + 16 * 1000),
    ],
)
def test_made_networks_cost_what_they_should(net: MadeNet, macs: int, tmp_path: Path) -> None:
    file = write_nets([net], tmp_path, 0)[net.name]
    assert count(onnx.load(file)).macs == macs


def test_a_network_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    written = []
    for number, seed in enumerate((0, 0, 1)):
        (tmp_path / str(number)).mkdir()
        written.append(write_nets([cnn(2)], tmp_path / str(number), seed)["cnn-2"].read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize("net", [cnn(2), mixer(16, 2)])
def test_made_networks_tell_images_apart(net: MadeNet, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(write_nets([net], tmp_path, 0)[net.name]))
    rng = np.random.default_rng(0)
    logits = session.run(None, {"input": rng.standard_normal((3, 3, 224, 224), np.float32)})[0]
    assert logits.shape == (3, 1000)
    assert np.isfinite(logits).all()
    assert 0.05 < logits.std() < 20
    assert np.abs(logits[0] - logits[1]).max() > 0.01


def test_engines_take_them(tmp_path: Path) -> None:
    file = write_nets([cnn(2)], tmp_path, 0)["cnn-2"]
    engine = load_engine(EngineConfig(str(file), max_batch=1))
    assert engine.info.image_shape == (224, 224, 3)
    engine.close()


def test_the_defaults_exist_and_span_the_papers_range() -> None:
    names = {net.name for net in FAMILY} | {"demo"}
    assert set(MODELS) == names
    assert set(QUICK_MODELS) <= names


def test_a_model_is_named_or_made(tmp_path: Path) -> None:
    assert named_or_made("demo", tmp_path, 0).source == "demo"
    made = named_or_made("cnn-8", tmp_path, 0)
    assert (made.name, made.source) == ("cnn-8", str(tmp_path / "cnn-8.onnx"))
    given = tmp_path / "mine.onnx"
    given.write_bytes(Path(made.source).read_bytes())
    assert named_or_made(str(given), tmp_path, 0).name == "mine"
    assert named_or_made(f"other={given}", tmp_path, 0).name == "other"
    for wrong in ("cnn-7", "nowhere.onnx"):
        with pytest.raises(ConfigError):
            named_or_made(wrong, tmp_path, 0)


def test_costs_are_counted_where_the_file_tells(tmp_path: Path) -> None:
    made = costed("cnn-8", tmp_path, 0)
    assert made.made
    assert made.cost is not None
    assert made.cost.gmacs == pytest.approx(0.075, rel=0.01)
    demo = costed("demo", tmp_path, 0)
    assert not demo.made
    assert demo.cost is not None
    assert costed("null:224", tmp_path, 0).cost is None


def test_parts_are_medians_and_their_shares_of_the_total() -> None:
    usual = {"decode": 800.0, "transform": 100.0, "copy_in": 10.0, "infer": 280.0, "copy_out": 10.0}
    slow = usual | {"batch_wait": 9000.0}
    found = parts_us(table([usual, usual, slow], [1500.0, 1500.0, 10_500.0]))
    assert found == {
        "dnn": 300.0,
        "preprocess": 900.0,
        "other": 300.0,
        "total": 1500.0,
        "dnn_share": pytest.approx(0.2),
    }
    assert parts_us(table([{}], [1.0], traced=(False,))) == {}


def points(name: str, gmacs: float | None, share: float, **of_load: Any) -> list[dict[str, Any]]:
    cost = (
        None if gmacs is None else {"gmacs": gmacs, "gflops": 2 * gmacs, "weights": 1e6, "made": "-" in name}
    )
    parts = {
        "dnn": 1000 * share,
        "preprocess": 900 * (1 - share),
        "other": 100 * (1 - share),
        "total": 1000.0,
        "dnn_share": share,
    }
    labels = {"model": name, "size": "medium", "preprocess": "cpu"}
    one = {"labels": labels | {"load": "one"}, "load": load(**of_load), "parts_us": parts, "cost": cost}
    return [
        one,
        {"labels": labels | {"load": "many"}, "load": load(rate=300.0), "cost": cost, "in_flight": 32},
    ]


def test_the_border_is_where_the_dnn_takes_half() -> None:
    run = run_of(*points("large", 4.0, 0.75), *points("small", 1.0, 0.25), *points("unknown", None, 0.9))
    assert [model.name for model in models_of(run)] == ["unknown", "small", "large"]
    assert half_point(models_of(run)) == pytest.approx(2.0)
    assert crossing(run) == "2.00 GMACs (medium)"
    assert crossing(run_of(*points("small", 1.0, 0.25))) is None


def test_the_papers_figures_find_their_counterparts() -> None:
    run = run_of(*points("resnet-50", 4.1, 0.25), *points("a", 11.0, 0.6), *points("b", 20.0, 0.8))
    assert resnet50(run) == "75 %"
    assert range_above(run) == "20 to 40 %"
    assert resnet50(run_of()) is None
    assert range_above(run_of()) is None


def test_tables_and_plots_of_all_some_and_no_points() -> None:
    whole = [
        *points("cnn-8", 0.08, 0.2),
        *points("resnet", 4.0, 0.8, void=("late",)),
        *points("x", None, 0.5),
    ]
    for chosen in (whole, whole[:1], whole[1:2], []):
        run = run_of(*chosen)
        assert len(EXPERIMENT.tables(run)) == (1 if chosen else 0)
        assert [figure.name for figure in EXPERIMENT.plots(run)] == ["models-share", "models-rate"]
    rows = EXPERIMENT.tables(run_of(*whole))[0].rows
    assert [row[0] for row in rows] == ["x", "cnn-8*", "resnet"]
    assert rows[2][-1] == "times"


def test_slow_models_get_fewer_requests_at_once() -> None:
    assert [bounded(32, rate) for rate in (100.0, 20.0, 0.5)] == [32, 20, 4]
    assert bounded(2, 0.5) == 2


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    EXPERIMENT.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_exporting_without_torch_is_told_at_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "models", {})
    with pytest.raises(ConfigError, match="torch"):
        run(asked("--export", "resnet-18", "--sizes", "small"), folder, Reporter())
    assert folder.points == []


def test_models_that_cannot_be_served_are_left_out_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    folder, reporter = RunFolder.create(tmp_path, "models", {}), Reporter()
    with pytest.raises(ConfigError):
        run(asked("--models", str(broken), "--sizes", "small"), folder, reporter)
    assert any("broken" in note for note in reporter.notes)

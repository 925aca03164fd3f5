"""The ladder: its rungs, the plain loop's pixels and answers, the int8 copy, tables and plots."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from beyond_serve.bench.experiments.ladder import EXPERIMENT
from beyond_serve.bench.experiments.ladder.figures import gained, highest, steps_of, tails
from beyond_serve.bench.experiments.ladder.measure import _quantized, settings_of, with_file
from beyond_serve.bench.experiments.ladder.plain_app import PlainModel, serve
from beyond_serve.bench.experiments.ladder.quantize import quantize
from beyond_serve.bench.experiments.ladder.rungs import PUBLISHED, Machine, Rung, rungs
from beyond_serve.bench.experiments.models.nets import cnn, write_nets
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.serving import ModelSource
from beyond_serve.bench.images import MEDIUM, paper_image
from beyond_serve.bench.processes import free_port
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.describe import describe_model
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import build_config
from tests.bench.experiments.points import load, run_of

FOUND = {
    "decode-threads": 2,
    "instances": 1,
    "policy": "adaptive",
    "max-batch": 16,
    "max-delay-us": 500,
    "concurrency": 64,
}
WHOLE = Machine(cores=2, bf16=True, int8=True)


def test_each_rung_adds_one_thing_and_ours_can_be_started() -> None:
    steps = rungs(WHOLE, 32, FOUND)
    assert [step.name for step in steps] == [
        *("plain loop", "decoder pool", "the server", "faster engine", "fixed batches", "dynamic batching"),
        *("several instances", "search's settings", "compiled bf16", "compiled int8"),
        *("GPU decoding", "TensorRT"),
    ]
    models = {
        step.name: build_config(["m.onnx"], parse_command_line(step.flags).options, None, {}).models[0]
        for step in steps
        if step.program == "server"
    }
    assert (models["the server"].engine, models["the server"].max_batch) == ("onnxruntime", 1)
    assert (models["faster engine"].engine, models["faster engine"].max_batch) == ("openvino", 1)
    assert models["fixed batches"].max_delay_us > 100_000
    assert models["dynamic batching"].max_delay_us == 0
    assert models["several instances"].instances == 2
    assert (models["search's settings"].policy, models["search's settings"].precision) == ("adaptive", "fp32")
    assert (models["compiled bf16"].policy, models["compiled bf16"].precision) == ("adaptive", "bf16")


def test_only_the_searched_rungs_have_another_concurrency() -> None:
    loads = {step.name: step.concurrency for step in rungs(WHOLE, 32, FOUND) if step.program}
    searched = {"search's settings", "compiled bf16", "compiled int8"}
    assert {name for name, in_flight in loads.items() if in_flight == 64} == searched
    assert all(in_flight == 32 for name, in_flight in loads.items() if name not in searched)


def test_a_fixed_batch_can_always_be_filled() -> None:
    for in_flight in (1, 2, 7, 32, 500):
        fixed = next(step for step in rungs(WHOLE, in_flight, None) if step.name == "fixed batches")
        assert 1 <= int(fixed.flags[fixed.flags.index("--max-batch") + 1]) <= in_flight


def test_what_the_machine_has_not_is_a_rung_with_its_reason() -> None:
    steps = rungs(Machine(1, bf16=False, int8=False), 32, None, no_search="in a hurry")
    absent = {step.name: step.why for step in steps if not step.program}
    assert absent["search's settings"] == "in a hurry"
    assert set(absent) == {"search's settings", "compiled bf16", "compiled int8", "GPU decoding", "TensorRT"}
    assert all(absent.values())


def test_published_steps_have_their_counterpart() -> None:
    counterparts = [step.counterpart for step in rungs(WHOLE, 32, FOUND) if step.counterpart]
    assert sorted(counterparts) == sorted(PUBLISHED)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nets([cnn(2)], tmp_path_factory.mktemp("nets"), 0)["cnn-2"]


@pytest.mark.parametrize("which", ["demo", "net"])
def test_the_plain_loop_sees_the_servers_pixels(which: str, net: Path) -> None:
    path = demo_model() if which == "demo" else net
    body = paper_image(MEDIUM)
    plan, _ = load_plan(path, describe_model(str(path)).image_size)
    row = np.zeros(plan.output_shape, np.uint8)
    HostPreprocessor(plan).run(body, read_header(body), row)
    how = plan.normalization
    expected = (row * how.scale - np.array(how.mean)) / np.array(how.std)
    found = PlainModel(path).preprocess(body)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, atol=2e-5)


def test_the_plain_loop_turns_and_pads_as_the_plan_says(net: Path, tmp_path: Path) -> None:
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 300), (200, 10, 10)).save(file, exif=exif)
    assert PlainModel(net).preprocess(file.read_bytes()).shape == (1, 3, 224, 224)


@pytest.mark.parametrize("threads", [0, 2])
async def test_the_plain_loop_answers_as_predict_does(threads: int) -> None:
    port = free_port()
    task = asyncio.create_task(serve(port, PlainModel(demo_model()), "digits", threads))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                assert not task.done()
                try:
                    reply = await session.post("/predict", data=paper_image(MEDIUM))
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0)
            answer: dict[str, Any] = await reply.json()
            assert (await session.get("/metrics")).status == 200
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    scores = [one["score"] for one in answer["predictions"]]
    assert answer["model"] == "digits"
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) <= 1.0001


def test_the_int8_copy_is_int8(net: Path, tmp_path: Path) -> None:
    quantize(net, tmp_path / "int8.onnx")
    description = describe_model(str(tmp_path / "int8.onnx"))
    assert description.quantized
    assert description.image_size == (224, 224)


def test_a_model_that_cannot_be_quantised_leaves_its_rung_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    step = Rung("compiled int8", "", "server", quantized=True)
    steps, _ = _quantized([step], ModelSource("m", str(tmp_path / "m.onnx")), tmp_path, Reporter())
    assert not steps[0].program
    assert steps[0].why


def test_the_plain_loop_needs_a_file() -> None:
    assert with_file(ModelSource("demo", "demo")).source.endswith("digits.onnx")
    with pytest.raises(ConfigError):
        with_file(ModelSource("sim", "sim:t.json"))
    with pytest.raises(ModelLoadError):
        PlainModel(Path("nowhere.onnx"))


def test_settings_come_from_a_run_of_search(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "search", {})
    with pytest.raises(ConfigError):
        settings_of(run.path)
    run.add_point({"labels": {"phase": "kept"}, "settings": FOUND})
    assert settings_of(run.path) == FOUND


def points() -> list[dict[str, Any]]:
    found = []
    rates = {
        "plain loop": 50.0,
        "fixed batches": 200.0,
        "dynamic batching": 190.0,
        "search's settings": 250.0,
    }
    for place, step in enumerate(rungs(WHOLE, 32, FOUND)):
        described = {
            "place": place,
            "model": "cnn-16",
            "adds": step.adds,
            "concurrency": step.concurrency,
            "counterpart": step.counterpart,
            "why": step.why,
        }
        if step.name not in rates:
            found.append({"labels": {"rung": step.name}, **described})
            continue
        for turn, factor in enumerate((0.5, 1.0, 1.1)):
            tail = 55.0 if step.name == "fixed batches" else 38.0
            measured = load(rates[step.name] * factor, tail, void=("late",) if turn == 0 else ())
            labels = {"rung": step.name, "turn": turn + 1}
            server = {"others_cpu": 0.0}
            spec = {"cores": [1]}
            found.append({"labels": labels, "load": measured, "server": server, "spec": spec, **described})
    return found


def test_rungs_are_judged_by_the_median_of_their_turns() -> None:
    run = run_of(*reversed(points()))
    steps = {step.name: step for step in steps_of(run)}
    assert list(steps) == [step.name for step in rungs(WHOLE, 32, FOUND)]
    assert steps["fixed batches"].rate == 200.0
    assert not steps["fixed batches"].void
    assert steps["TensorRT"].rate is None
    assert highest(run) == "5.00x (search's settings)"
    assert tails(run) == "55.0 to 38.0 ms"
    assert gained(run) == "+60 images/s"


def test_tables_and_plots_of_all_some_and_no_points() -> None:
    whole = points()
    for chosen in (whole, whole[:4], []):
        run = run_of(*chosen)
        tables = EXPERIMENT.tables(run)
        assert len(tables) == (2 if chosen else 0)
        assert [figure.name for figure in EXPERIMENT.plots(run)] == ["ladder", "ladder-factors"]
    assert "0.95x" in [row[4] for row in EXPERIMENT.tables(run_of(*whole))[0].rows]


def test_arguments_have_defaults() -> None:
    parser = argparse.ArgumentParser()
    EXPERIMENT.add_arguments(parser)
    given = parser.parse_args([])
    assert (given.model, given.size, given.rounds, given.settings) == ("cnn-16", "medium", None, None)

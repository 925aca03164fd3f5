"""Cores, CPU time and flags of experiments with a server of their own."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from beyond_serve.bench.experiments.counters import Counters
from beyond_serve.bench.experiments.cpu_time import CpuShares
from beyond_serve.bench.experiments.serving import (
    Cores,
    Measured,
    ModelSource,
    Served,
    gpu_gap,
    progress_line,
    room_for,
    split_cores,
)
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
    model_source,
)
from beyond_serve.bench.load.spec import LoadProgress
from beyond_serve.bench.processes import ServerProcess, free_port
from beyond_serve.errors import ConfigError
from tests.bench.experiments.points import result, table


def test_the_generator_has_a_core_of_its_own_where_there_are_two() -> None:
    cores = split_cores((3, 0, 1, 2))
    assert (cores.server, cores.load) == ((0, 1, 2), (3,))
    assert cores.apart
    assert cores.sentence() == "the load generator has core 3 to itself, the server cores 0, 1, 2"


def test_one_core_is_shared_and_said_to_be() -> None:
    cores = split_cores((5,))
    assert not cores.apart
    assert "shares it" in cores.sentence()


def progress(elapsed_s: float, *, warming_up: bool = False) -> LoadProgress:
    return LoadProgress(elapsed_s, 10.0, warming_up, 9, 8, 1, 0, 1.25, 7.5)


def test_progress_tells_percentiles_once_it_counts() -> None:
    assert progress_line(progress(1.0, warming_up=True)) == "8 done, warming up"
    assert progress_line(progress(3.0)) == "8 done, p50 1.25 ms, p99 7.50 ms"
    assert progress_line(replace(progress(3.0), p50_ms=None)) == "8 done"


def test_a_point_has_the_load_and_the_server() -> None:
    measured = Measured(
        result(table([{}], [1000.0])), CpuShares(0.5, 0.1), Counters({"full": 2.0, "delay": 6.0}, 32.0)
    )
    point = measured.point({"size": "medium"}, simulated=False)
    assert point["labels"] == {"size": "medium"}
    assert point["simulated"] is False
    server = point["server"]
    assert isinstance(server, dict)
    assert (server["cpu"], server["others_cpu"]) == (0.5, 0.1)
    assert server["releases"] == {"full": 0.25, "delay": 0.75}
    load = point["load"]
    assert isinstance(load, dict)
    assert load["requests"] == 1


def test_after_an_interrupted_load_there_is_no_other() -> None:
    whole = result(table([{}], [1000.0]))
    Measured(whole, CpuShares(), Counters()).go_on()
    with pytest.raises(KeyboardInterrupt):
        Measured(replace(whole, interrupted=True), CpuShares(), Counters()).go_on()


@dataclass
class FakeProcess:
    """Ended with `code`, or hangs if it is None."""

    code: int | None

    def poll(self) -> int | None:
        return self.code


@pytest.mark.parametrize(("code", "said"), [(-9, "ended with -9"), (None, "does not answer any more")])
def test_a_server_that_is_gone_is_told_in_a_line(code: int | None, said: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    process = ServerProcess("server", url, FakeProcess(code))  # type: ignore[arg-type]
    served = Served(ModelSource("demo", "demo"), process, Cores((0,), (1,)), ())
    with pytest.raises(ConfigError, match=f"the server with demo {said}"):
        served.counters()


def test_a_server_with_room_takes_all_that_is_in_flight() -> None:
    flags = dict(zip(*[iter(room_for(4096, 121_000))] * 2, strict=True))
    assert int(flags["--max-queue"]) >= 4096
    assert int(flags["--max-connections"]) >= 4096
    assert float(flags["--max-queue-mb"]) * 2**20 >= 4096 * 121_000


@pytest.mark.parametrize(
    ("text", "name", "source", "simulated"),
    [
        ("demo", "demo", "demo", False),
        ("null:224", "null-224", "null:224", True),
        ("vit=demo", "vit", "demo", False),
    ],
)
def test_models_by_name(text: str, name: str, source: str, simulated: bool) -> None:
    found = model_source(text)
    assert found == ModelSource(name, source)
    assert found.simulated is simulated


def test_models_in_files(tmp_path: Path) -> None:
    file = tmp_path / "resnet-50.onnx"
    file.write_bytes(b"")
    assert model_source(str(file)) == ModelSource("resnet-50", str(file))
    assert model_source(f"fast=sim:{file}") == ModelSource("fast", f"sim:{file}")
    with pytest.raises(ConfigError, match="no model is at"):
        model_source(str(tmp_path / "missing.onnx"))


def given(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_serving_arguments(parser, sizes="small")
    return parser.parse_args(words, argparse.Namespace(seed=0))


def test_two_models_of_one_name_would_be_one_line() -> None:
    assert [model.name for model in asked_models(given("--models", "demo", "b=demo"))] == ["demo", "b"]
    with pytest.raises(ConfigError, match="two models are named demo"):
        asked_models(given("--models", "demo", "demo"))


def test_flags_given_come_after_the_experiments_own() -> None:
    assert asked_flags(given("--flags", "--instances 2 --ladder 'a b'"), ("--instances", "1")) == (
        *("--instances", "1", "--instances", "2"),
        *("--ladder", "a b"),
    )
    with pytest.raises(ConfigError, match="--flags cannot be read"):
        asked_flags(given("--flags", "'open"))


def test_sizes_are_generated() -> None:
    (image,) = asked_images(given())
    assert (image.name, len(image.data) // 1000) == ("small", 4)


def test_why_there_is_no_gpu_column() -> None:
    assert "this machine has no GPU" in gpu_gap(has_gpu=False)
    assert "decodes on the CPU only" in gpu_gap(has_gpu=True)

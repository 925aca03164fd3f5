"""From a configuration to a model on several devices that serves, loses instances and gets them back."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines import process_instance
from beyond_serve.engines.group import FIRST_BACK_OFF_NS
from beyond_serve.engines.process_instance import ProcessInstance
from beyond_serve.errors import InstanceLostError, ModelLoadError
from beyond_serve.server import backends, loading
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.loading import check_precision
from beyond_serve.server.repository import ModelRepository
from tests.fakes.engines import INFO
from tests.server import lost_device
from tests.server.lost_device import POISON, full
from tests.server.opened_models import Fakes, opening


@pytest.fixture
def source(tmp_path: Path) -> str:
    table = tmp_path / "m.json"
    table.write_text(json.dumps({"name": "m", "input": [2, 2, 3], "classes": 2, "latency_ms": {"1": 1}}))
    return f"sim:{table}"


@pytest.fixture(params=["thread", "process"])
def fragile(request: pytest.FixtureRequest, source: str, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """A model of either kind on an engine that its batches can destroy."""
    monkeypatch.setattr(backends, "load_engine", lost_device.FragileEngine)
    monkeypatch.setattr(process_instance, "child_main", lost_device.fragile_child_main)
    return ModelConfig("m", source, device="sim:0", instance_kind=request.param)


async def test_each_device_has_an_engine_of_its_own_and_all_one_arena(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Passed only if all load at the same time.
    fakes = Fakes(threading.Barrier(3).wait)
    monkeypatch.setattr(backends, "load_engine", fakes)
    async with opening() as opened:
        model = await opened.open(ModelConfig("m", source, device="sim:0,sim:1,sim:7", instances=2))
        assert set(fakes.engines) == {"sim:0", "sim:1", "sim:7"}
        assert model.line is not None
        for engine in fakes.engines.values():
            assert [rows is model.line.arena.array for rows in engine.adopted] == [True]
            assert len(engine.contexts) == 2
        assert model.info.device == "sim:0,sim:1,sim:7"
        assert model.instances_alive == 6
        assert model.metrics.devices == {
            f"m-{device}-{number}": device for device in fakes.engines for number in (0, 1)
        }
        # A full batch running and one forming on each of the six.
        assert model.line.arena.free_count == 6 * 2 * model.max_batch + 2
    assert all(engine.closed for engine in fakes.engines.values())


async def test_one_device_that_cannot_load_leaves_nothing_behind(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = Fakes()
    fakes.full.add("sim:1")
    monkeypatch.setattr(backends, "load_engine", fakes)
    async with opening() as opened:
        with pytest.raises(ModelLoadError, match="do not fit on sim:1"):
            await opened.open(ModelConfig("m", source, device="sim:0,sim:1"))
    assert fakes.engines["sim:0"].closed


async def test_of_a_model_in_child_processes_this_process_opens_nothing(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the parent opened the model")

    monkeypatch.setattr(loading.read_source, "__defaults__", (never,))
    monkeypatch.setattr(backends, "load_engine", never)
    async with opening() as opened:
        model = await opened.open(ModelConfig("m", source, device="sim:0", instance_kind="process"))
        assert model.instances_alive == 1


async def test_a_user_who_asked_for_larger_batches_than_the_file_allows_is_told(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "load_engine", Fakes(max_batch=4))
    async with opening() as opened:
        model = await opened.open(ModelConfig("m", source, max_batch=32))
        assert model.max_batch == 4
        assert "up to 4, not 32" in model.info.warnings[-1]


async def test_no_room_for_a_context_at_the_start_is_told_with_what_to_do(fragile: ModelConfig) -> None:
    full(fragile.source, "sim:0").touch()
    async with opening() as opened:
        with pytest.raises(ModelLoadError, match="no room on sim:0") as caught:
            await opened.open(fragile)
    assert caught.value.hint == "use --max-batch 8"


async def test_a_lost_devices_batch_runs_once_more_elsewhere(fragile: ModelConfig) -> None:
    async with opening() as opened:
        model = await opened.open(replace(fragile, device="sim:0,sim:1"))
        call = await opened.infer(model, POISON)
        # The second device was lost with it too: that was its retry.
        assert isinstance(call.error, InstanceLostError)
        assert "700" in call.error.message
        assert (model.ready, model.instances_alive) == (False, 0)
        opened.clock.let_go()
        await opened.until(model, lambda: model.instances_alive == 2)
        assert model.ready
        assert (await opened.infer(model, 1.0)).error is None


async def test_those_who_shared_its_batch_are_answered_though_every_device_was_lost(
    fragile: ModelConfig,
) -> None:
    async with opening() as opened:
        model = await opened.open(replace(fragile, device="sim:0,sim:1"))
        asked = [asyncio.ensure_future(opened.infer(model, value)) for value in (POISON, 1.0, 2.0, 3.0)]
        await opened.until(model, lambda: model.instances_alive == 0)
        opened.clock.let_go()
        poisoned, *fine = await asyncio.gather(*asked)
        assert isinstance(poisoned.error, InstanceLostError)
        assert [call.error for call in fine] == [None] * 3


async def test_a_restart_without_room_is_tried_again_later_and_later_and_told(
    fragile: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with opening() as opened:
        repository = ModelRepository([fragile], opened.open, lambda _: None, lambda _: None)
        await repository.load("m")
        model = repository.get("m")
        lost = asyncio.ensure_future(opened.infer(model, POISON))
        await opened.until(model, lambda: model.instances_alive == 0)
        full(fragile.source, "sim:0").touch()
        group = model.group
        assert group is not None
        with caplog.at_level(logging.ERROR):
            for _ in range(2):
                before = group.last_error
                opened.clock.let_go()
                await opened.until(model, lambda before=before: group.last_error is not before)
        assert "did not start (no room on sim:0: 0.1 GiB are free; use --max-batch 8)" in caplog.text
        assert not repository.ready
        (status,) = repository.index()
        assert (status.state, status.reason[:38]) == ("UNAVAILABLE", "no instance is alive: no room on sim:0")
        # Three losses in a row: whoever waits is told, and nobody is let in.
        assert isinstance((await lost).error, InstanceLostError)
        assert isinstance((await opened.infer(model, 1.0)).error, InstanceLostError)
        waits = [wait for wait in opened.clock.waits_ns if wait > FIRST_BACK_OFF_NS // 2]
        assert [round(wait / FIRST_BACK_OFF_NS) for wait in waits] == [1, 2, 4]
        full(fragile.source, "sim:0").unlink()
        opened.clock.let_go()
        await opened.until(model, lambda: model.instances_alive == 1)
        assert repository.ready
        assert (await opened.infer(model, 1.0)).error is None


async def test_when_a_device_is_lost_to_this_process_another_takes_over(fragile: ModelConfig) -> None:
    async with opening() as opened:
        model = await opened.open(fragile)
        group = model.group
        assert group is not None
        asked = asyncio.ensure_future(opened.infer(model, POISON))
        await opened.until(model, lambda: model.instances_alive == 0)
        # Decoded while nobody is there to run it.
        white = asyncio.ensure_future(opened.predict(model, np.full((2, 2, 3), 255, np.uint8)))
        opened.clock.let_go()
        assert isinstance((await asked).error, InstanceLostError)
        opened.clock.let_go()
        call = await white
        assert call.error is None
        assert call.outputs(["logits"])["logits"].tolist() == [[255, -255]]
        (instance,) = group.close()
        assert isinstance(instance, ProcessInstance)
        assert instance.device == "sim:0"


@pytest.mark.parametrize("asked", ["auto", "fp16"])
def test_a_compiled_file_may_be_asked_for_its_own_precision(asked: str) -> None:
    check_precision(ModelConfig("m", "m.plan", precision=asked), replace(INFO, precision="fp16"))


def test_a_compiled_file_is_refused_in_another_precision() -> None:
    info = replace(INFO, precision="fp16")
    for source in ("m.plan", "m.engine", "m.PT2"):
        with pytest.raises(ModelLoadError, match="in fp16 and not in bf16") as caught:
            check_precision(ModelConfig("m", source, precision="bf16"), info)
        assert caught.value.hint
    check_precision(ModelConfig("m", "m.onnx", precision="bf16"), info)

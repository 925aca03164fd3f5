"""The parts that measure a loaded model, on a fake GPU: what they report, and what they find."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beyond_serve.bench.gpu_check.built import BuiltModel, add_built, built_models
from beyond_serve.bench.gpu_check.findings import Findings, Recorder, read_findings
from beyond_serve.bench.gpu_check.measure import Pace, interleaved, medians, times_for
from beyond_serve.bench.gpu_check.networks import ASKED
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.parts import batcher, engines, machine, steady
from beyond_serve.bench.gpu_check.parts.engines import Rates
from beyond_serve.bench.gpu_check.parts.steady import Allocations, allocation_fault
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.bench.gpu_check.through_batcher import THROUGHPUT_COLUMNS, Windows
from beyond_serve.errors import ModelLoadError
from tests.bench.gpu_check.fake_engine import MAX_BATCH, World
from tests.engines.cuda.fake_runtime import FakeRuntime

QUICK = Windows(1, 0.02)


@pytest.fixture
def world() -> World:
    return World()


def opened(world: World) -> Opened:
    return Opened(world.runtime, world.network, world.engine)


def found(folder: Path) -> Findings:
    return read_findings(folder / "findings")


@pytest.mark.parametrize(("network", "checks"), [(ASKED, 3), ("ResNet-50", 0)])
def test_batcher(tmp_path: Path, world: World, network: str, checks: int) -> None:
    record = Recorder(tmp_path / "findings")
    rows = batcher.measure(BuiltModel(network, "bf16", ""), opened(world), record, QUICK, MAX_BATCH)
    world.engine.close()
    assert [row[:2] for row in rows] == [(f"{network} bf16", instances) for instances in (1, 2, 3)]
    assert all(len(row) == len(THROUGHPUT_COLUMNS) for row in rows)
    assert len(found(tmp_path).checks) == checks
    assert len(found(tmp_path).notes) == 2
    assert world.runtime.alive == 0


@contextlib.contextmanager
def _fake_opened(site: Site, model: BuiltModel, max_batch: int) -> Iterator[Opened]:
    world = World()
    yield opened(world)
    world.engine.close()


def built_site(folder: Path, *left_s: float) -> Site:
    """A site where three models are built, and whose time goes as told."""
    for network, precision in (("ResNet-50", "bf16"), (ASKED, "fp16"), (ASKED, "bf16")):
        add_built(folder, BuiltModel(network, precision, ""))
    clock = iter(100 - left for left in left_s)
    return Site(0, folder, quick=True, limit_s=100, started=0, clock=lambda: next(clock))


def test_batcher_goes_as_far_as_time_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "opened", _fake_opened)
    done: list[str] = []
    monkeypatch.setattr(batcher, "measure", lambda model, *rest: done.append(str(model)) or [(str(model),)])
    batcher.run(built_site(tmp_path, 90, 50, 50, 20, 20), Recorder(tmp_path / "findings"))
    assert done == [f"{ASKED} bf16", f"{ASKED} fp16"]
    assert [skip.what for skip in found(tmp_path).skips] == ["ResNet-50 bf16: through the batcher"]
    assert found(tmp_path).tables[0].rows == [[f"{ASKED} bf16"], [f"{ASKED} fp16"]]


def test_what_was_measured_before_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [[Rates(1, 10.0, 10.0, 9.0)]]

    def measure(*_: object) -> list[Rates]:
        if not rates:
            raise KeyboardInterrupt
        return rates.pop()

    monkeypatch.setattr(engines, "opened", _fake_opened)
    monkeypatch.setattr(engines, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        engines.run(built_site(tmp_path, *[90.0] * 5), Recorder(tmp_path / "findings"))
    assert found(tmp_path).tables[0].rows == [[f"{ASKED} bf16", 1, 10.0, 10.0, 9.0, 1.0]]
    assert [check.met for check in found(tmp_path).checks] == [True, False]


def test_steady_takes_the_most_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "opened", _fake_opened)
    monkeypatch.setattr(steady, "check_steady", lambda what, *rest, **more: rest[1].note(what))
    steady.run(built_site(tmp_path), Recorder(tmp_path / "findings"))
    assert found(tmp_path).notes == [f"{ASKED} bf16"]


def test_steady(tmp_path: Path, world: World) -> None:
    record = Recorder(tmp_path / "findings")
    left = iter([100.0, 100.0] + [0.0] * 3)
    steady.check_steady("fake", opened(world), record, batches=10, left_s=lambda: next(left), batch=MAX_BATCH)
    world.engine.close()
    checks = found(tmp_path).checks
    assert [check.met for check in checks] == [True] * 4
    assert len(found(tmp_path).tables[0].rows) == 6


class _Leaking(FakeRuntime):
    """Forgets a kilobyte with every upload."""

    def __init__(self) -> None:
        super().__init__()
        self.leaked = 0

    def upload(self, *arguments) -> None:
        self.leaked += 1024
        super().upload(*arguments)

    def memory(self) -> tuple[int, int]:
        free, whole = super().memory()
        return free - self.leaked, whole


def test_memory_that_goes_is_found(tmp_path: Path) -> None:
    world, record = World(runtime=_Leaking()), Recorder(tmp_path / "findings")
    left = iter([100.0, 0.0])
    steady.check_steady("fake", opened(world), record, batches=1, left_s=lambda: next(left), batch=MAX_BATCH)
    world.engine.close()
    met = {check.what: check.met for check in found(tmp_path).checks}
    assert not met["fake: allocations while they ran"]
    assert met["fake: borders of every batch"]


def test_allocation_faults() -> None:
    before = Allocations(1000, (3, 40))
    assert allocation_fault(before, before) == ""
    assert "600 bytes less" in allocation_fault(before, Allocations(400, (3, 40)))
    assert "from (3, 40) to (4, 40)" in allocation_fault(before, Allocations(1000, (4, 40)))


def test_machine(tmp_path: Path) -> None:
    runtime, record = FakeRuntime(), Recorder(tmp_path / "findings")
    machine.copies(runtime, record, 4096, 3)
    machine.steps(runtime, record, 5)
    copies, steps = found(tmp_path).tables
    # 4096 bytes in the fake's 10 us.
    assert copies.rows == [["host to device", 0, 0.4096, 0.4096], ["device to host", 0, 0.4096, 0.4096]]
    assert len(steps.rows) == 5
    assert all(0 <= median <= most for _, median, most in steps.rows)
    assert runtime.alive == 0
    assert "numpy" in machine.versions()


def test_what_needs_no_device_is_told_without_one(tmp_path: Path) -> None:
    def broken(index: int) -> FakeRuntime:
        raise ModelLoadError("the device cuda:0 cannot be used")

    site = Site(0, tmp_path, quick=True, limit_s=10, started=0, open_runtime=broken)
    with pytest.raises(ModelLoadError):
        machine.run(site, Recorder(tmp_path / "findings"))
    assert {"uname", "packages", "nvjpeg"} <= set(found(tmp_path).facts)


def test_the_whole_machine(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    site = Site(0, tmp_path, quick=True, limit_s=10, started=0, open_runtime=lambda index: runtime)
    machine.run(site, Recorder(tmp_path / "findings"))
    assert found(tmp_path).facts["device"] == "Fake GPU"
    assert threading.get_ident() in runtime.bound


def test_the_built_models_keep_their_order(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="no model was built"):
        built_models(tmp_path)
    models = [BuiltModel(ASKED, "bf16", "a.pt2"), BuiltModel(ASKED, "fp16", "b.pt2")]
    for model in models:
        add_built(tmp_path, model)
    assert built_models(tmp_path) == models
    assert str(models[0]) == "ViT-Base/16 bf16"


def test_interleaved_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str, value: float):
        def call() -> float:
            order.append(name)
            return value

        return call

    samples = interleaved({"a": contender("a", 1.0), "b": contender("b", 2.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert medians(samples) == {"a": 1.0, "b": 2.0}
    assert (times_for(1.0, 0.01), times_for(1.0, 10.0), times_for(1.0, 0.0)) == (100, 3, 100_000)


def test_the_longest_so_far_says_whether_another_fits() -> None:
    pace = Pace(10)
    assert pace.fits(12)
    assert not pace.fits(11.9)
    pace.took(5)
    assert pace.fits(12)
    pace.took(20)
    assert not pace.fits(23)


def test_the_servers_default_is_asked() -> None:
    assert batcher.default_instances() == 1

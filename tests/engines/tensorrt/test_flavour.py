from __future__ import annotations

from types import SimpleNamespace

import pytest

from beyond_serve.engines.cuda import probe
from beyond_serve.engines.cuda.probe import Driver
from beyond_serve.engines.tensorrt.flavour import find_builder, find_runtime
from beyond_serve.errors import ModelLoadError

ALL = (
    "tensorrt",
    "tensorrt_bindings",
    "tensorrt_lean",
    "tensorrt_lean_bindings",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
)


class Packages:
    """What is installed. broken: what importing a module raises. imported: in order."""

    def __init__(self, *there: str, **broken: Exception) -> None:
        self.there = there
        self.broken = broken
        self.imported: list[str] = []

    def __call__(self, name: str) -> object:
        self.imported.append(name)
        if name in self.broken:
            raise self.broken[name]
        if name not in self.there:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return SimpleNamespace(name=name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "driver", lambda: Driver(("GPU",), ""))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "driver", lambda: Driver((), "NVIDIA's driver is not installed"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("plans", "there", "taken"),
    [
        ("tensorrt", ALL, "tensorrt"),
        ("tensorrt", ALL[1:], "tensorrt_bindings"),
        ("tensorrt", ALL[2:], "tensorrt_lean"),
        ("tensorrt", ALL[3:], "tensorrt_lean_bindings"),
        ("rtx", ALL, "tensorrt_rtx"),
        ("rtx", ALL[5:], "tensorrt_rtx_bindings"),
        (None, ALL, "tensorrt"),
        (None, ALL[4:], "tensorrt_rtx"),
    ],
)
def test_the_first_that_runs_such_plans(plans: str | None, there: tuple[str, ...], taken: str) -> None:
    assert find_runtime(plans, "cuda:0", Packages(*there)).module.name == taken


@pytest.mark.usefixtures("no_gpu")
def test_the_driver_is_asked_before_anything_is_imported() -> None:
    packages = Packages(*ALL)
    with pytest.raises(ModelLoadError, match=r"the device cuda:0 is not there: NVIDIA's driver") as caught:
        find_runtime("tensorrt", "cuda:0", packages)
    assert packages.imported == []
    assert "serve the ONNX model it was built from" in caught.value.hint


@pytest.mark.usefixtures("gpu")
def test_none_says_what_to_install_and_which_runs_what() -> None:
    with pytest.raises(ModelLoadError, match="no TensorRT that can run this plan is installed") as caught:
        find_runtime(None, "cuda:0", Packages())
    for package in ("tensorrt-cu13", "tensorrt-lean-cu13", "tensorrt-rtx-cu13"):
        assert f"pip install {package} (" in caught.value.hint
    assert "version-compatible" in caught.value.hint
    with pytest.raises(ModelLoadError) as caught:
        find_runtime("rtx", "cuda:0", Packages("tensorrt"))
    assert "tensorrt-rtx-cu13" in caught.value.hint
    assert "tensorrt-cu13" not in caught.value.hint


@pytest.mark.usefixtures("gpu")
def test_one_that_is_broken_gives_way_and_is_named_if_there_is_no_other() -> None:
    missing = ImportError("libnvinfer.so.11: cannot open shared object file")
    broken = Packages("tensorrt_lean", tensorrt=missing)
    assert find_runtime("tensorrt", "cuda:0", broken).module.name == "tensorrt_lean"
    with pytest.raises(ModelLoadError, match=r"tensorrt cannot be imported: libnvinfer.so.11"):
        find_runtime("tensorrt", "cuda:0", Packages(tensorrt=missing))
    needs = ModuleNotFoundError("No module named 'tensorrt_libs'", name="tensorrt_libs")
    with pytest.raises(ModelLoadError, match="No module named 'tensorrt_libs'"):
        find_runtime("tensorrt", "cuda:0", Packages(tensorrt=needs))


@pytest.mark.usefixtures("no_gpu")
def test_only_rtx_builds_without_a_gpu() -> None:
    assert find_builder("auto", Packages("tensorrt_rtx")).module.name == "tensorrt_rtx"
    assert find_builder("rtx", Packages(*ALL)).module.name == "tensorrt_rtx"
    with pytest.raises(ModelLoadError, match="cuda:0 is not there"):
        find_builder("tensorrt", Packages(*ALL))


@pytest.mark.usefixtures("gpu")
def test_lean_builds_nothing() -> None:
    assert find_builder("auto", Packages(*ALL)).module.name == "tensorrt"
    with pytest.raises(ModelLoadError, match="no TensorRT that can build") as caught:
        find_builder("auto", Packages("tensorrt_lean"))
    assert "lean" not in caught.value.hint

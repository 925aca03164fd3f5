"""`--device`: what it may name, what is made of it, and what is said if it makes no sense."""

from __future__ import annotations

import pytest

from beyond_serve.engines.cuda.probe import Driver
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.server import device_list
from beyond_serve.server.device_list import card, parse_devices, present_devices, with_card

NONE = Driver((), "the driver is on holiday")
TWO = Driver(("NVIDIA H200", "NVIDIA L4"), "")


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("auto", ("auto",)),
        ("cpu", ("cpu",)),
        ("cuda", ("cuda:0",)),
        ("cuda:3", ("cuda:3",)),
        ("cuda:0, cuda:01", ("cuda:0", "cuda:1")),
        ("cuda:all", ("cuda:all",)),
        ("sim:0,sim:1", ("sim:0", "sim:1")),
    ],
)
def test_what_makes_sense(text: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text) == devices


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no device"),
        ("cuda:0,", "'' is no device"),
        ("gpu:0", "'gpu:0' is no device"),
        ("cuda:-1", "'cuda:-1' is no device"),
        ("cuda:x", "'cuda:x' is no device"),
        ("sim:all", "'sim:all' is no device"),
        ("cuda:1,cuda:0,cuda:1", "names cuda:1 twice"),
        ("cuda,cuda:0", "names cuda:0 twice"),
        ("cpu,cpu", "names cpu twice"),
        ("cpu,cuda:0", "mixes cpu and cuda"),
        ("cuda:0,sim:0", "mixes cuda and sim"),
        ("cuda:0,auto", "others beside auto"),
        ("cuda:0,cuda:all", "others beside all"),
    ],
)
def test_what_makes_none(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match="--device") as caught:
        parse_devices(text)
    assert says in caught.value.message
    assert caught.value.hint


def test_all_are_those_that_the_driver_offers() -> None:
    assert present_devices("cuda:all", "vit.plan", TWO) == ("cuda:0", "cuda:1")
    with pytest.raises(ModelLoadError, match="on holiday"):
        present_devices("cuda:all", "vit.plan", NONE)


def test_a_device_that_is_not_there_is_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def require(device: str) -> int:
        asked.append(device)
        return 0

    monkeypatch.setattr(device_list, "require_device", require)
    assert present_devices("cuda:0,cuda:5", "vit.plan") == ("cuda:0", "cuda:5")
    assert asked == ["cuda:0", "cuda:5"]


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda:1", "cuda:all", "sim:0,sim:1"])
def test_the_null_engine_runs_nowhere_in_particular(text: str) -> None:
    assert present_devices(text, "null:224", NONE) == ("auto",)


def test_emulated_devices_are_for_emulated_models() -> None:
    assert present_devices("sim:0,sim:2", "sim:table.json") == ("sim:0", "sim:2")
    assert present_devices("cuda:0,cuda:1", "sim:table.json", NONE) == ("auto",)
    with pytest.raises(ModelLoadError, match="emulated"):
        present_devices("sim:0", "vit.onnx")


def test_a_gpu_is_told_with_its_name() -> None:
    assert with_card("cuda:1", TWO) == "cuda:1 (NVIDIA L4)"
    assert with_card("cpu", TWO) == "cpu"
    assert card("cuda:0", TWO) == "NVIDIA H200"
    assert card("cuda:7", TWO) == "cuda:7"
    assert card("simulated slow", TWO) == "simulated slow"

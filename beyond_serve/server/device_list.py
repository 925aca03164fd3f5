"""`--device`: one device, several, or all; checked as text at the start, and against the machine when a
model is loaded."""

from __future__ import annotations

import re

from beyond_serve.engines.cuda.probe import Driver, driver, require_device
from beyond_serve.errors import ConfigError, ModelLoadError

ALL = "cuda:all"

_EXAMPLE = "for example --device cuda:0,cuda:1, or --device cuda:all"


def parse_devices(text: str) -> tuple[str, ...]:
    """The devices that `text` names, each as EngineConfig has it, or ("cuda:all",).

    Raises:
        ConfigError: it names none, one twice, or some that no model can have together.
    """
    devices = tuple(_device(entry.strip(), text) for entry in text.split(","))
    for device in devices:
        if devices.count(device) > 1:
            raise ConfigError(f"--device '{text}' names {device} twice", "use --instances 2 for two on it")
    kinds = {device.partition(":")[0] for device in devices}
    if len(devices) == 1 or (kinds in ({"cuda"}, {"sim"}) and ALL not in devices):
        return devices
    if ALL in devices:
        raise ConfigError(f"--device '{text}' names others beside all", "use --device cuda:all")
    if "auto" in devices:
        raise ConfigError(f"--device '{text}' names others beside auto", f"name them all: {_EXAMPLE}")
    raise ConfigError(
        f"--device '{text}' mixes {' and '.join(sorted(kinds))}: a model runs on devices of one kind",
        "leave one kind out, or serve the model twice under two names",
    )


def _device(entry: str, text: str) -> str:
    if entry in ("auto", "cpu", ALL):
        return entry
    if entry == "cuda":
        return "cuda:0"
    found = re.fullmatch(r"(cuda|sim):([0-9]{1,4})", entry)
    if found is None:
        raise ConfigError(
            f"--device '{text}': {entry!r} is no device", f"give auto, cpu, cuda:N or a list, {_EXAMPLE}"
        )
    return f"{found[1]}:{int(found[2])}"


def present_devices(text: str, source: str, ask: Driver | None = None) -> tuple[str, ...]:
    """The devices on which the model `source` runs: `text`'s, which are there. Blocks for the driver.

    `null:` runs nowhere, and `sim:` on emulated devices only; for them any other device means no more than
    one. Instances of a `sim:N` have that device for themselves, as those of a GPU have.

    Raises:
        ConfigError: as `parse_devices`.
        ModelLoadError: a GPU is named that this process cannot use, or an emulated one for a real model.
    """
    devices = parse_devices(text)
    emulated = devices[0].startswith("sim:")
    if emulated and not source.startswith(("null:", "sim:")):
        raise ModelLoadError(
            f"--device {text} is emulated, and '{source}' is a real model", "use --device cpu or cuda:N"
        )
    if source.startswith("null:") or (source.startswith("sim:") and not emulated):
        return ("auto",)
    if devices == (ALL,):
        found = ask or driver()
        if not found.devices:
            raise ModelLoadError(
                f"no device is there for --device cuda:all: {found.why_not}",
                "run nvidia-smi to see what the driver says, or use --device cpu",
            )
        return tuple(f"cuda:{index}" for index in range(len(found.devices)))
    for device in devices:
        if device.startswith("cuda:"):
            require_device(device)
    return devices


def with_card(device: str, ask: Driver | None = None) -> str:
    """A device as users are told of it: "cuda:0 (NVIDIA H200)"."""
    name = card(device, ask)
    return device if name == device else f"{device} ({name})"


def card(device: str, ask: Driver | None = None) -> str:
    """What kind of device it is: the GPU's name, or `device` itself if it is none that the driver knows."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not number.isdigit():
        return device
    names = (ask or driver()).devices
    return names[int(number)] if int(number) < len(names) else device

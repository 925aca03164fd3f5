"""Whether a .pt2 file can run where it is asked to. Pure."""

from __future__ import annotations

from collections.abc import Collection

from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.errors import ModelLoadError

BUILD = "beyond-models build ARCH -o NAME.pt2"


def check_precision(source: str, requested: str, own: str) -> None:
    """
    Raises:
        ModelLoadError: another precision is asked for than the file computes in.
    """
    if requested not in ("auto", own):
        raise ModelLoadError(
            f"'{source}' computes in {own}, and not in {requested}",
            f"use --precision auto, or build it so: {BUILD} --precision {requested}",
        )


def check_device(
    source: str, facts: Pt2Facts, device: str, capability: tuple[int, int] | None, name: str = ""
) -> None:
    """
    Args:
        device: "cpu" or "cuda:N".
        capability: of that GPU, (major, minor); name: what it is called.

    Raises:
        ModelLoadError: the file was compiled for another kind of device, or for another GPU.
    """
    kind = device.partition(":")[0]
    if facts.kind == "export":
        if facts.device == "cuda" and kind == "cpu":
            raise ModelLoadError(
                f"'{source}' was exported with its weights on a GPU (cuda), and the device is {device}",
                "use --device cuda, or export it from a module on the CPU",
            )
        return
    if facts.device != kind:
        place = _place(facts.device, facts.capability)
        raise ModelLoadError(
            f"'{source}' was compiled for {place}, and the device is {device}",
            f"use --device {facts.device}, or build it for this one: {BUILD} --device {kind}",
        )
    if None not in (facts.capability, capability) and facts.capability != capability:
        raise ModelLoadError(
            f"'{source}' was compiled for {_place(facts.device, facts.capability)}, and {device} is "
            f"{name or 'a GPU'} of {_capability(capability)}",
            f"build it on this machine: {BUILD} --device cuda",
        )


def check_cpu(source: str, facts: Pt2Facts, platform: tuple[str, str], flags: Collection[str]) -> None:
    """
    Args:
        platform: operating system and machine, as in ("linux", "x86_64").
        flags: the CPU's, as /proc/cpuinfo has them; empty where nobody knows.

    Raises:
        ModelLoadError: the code would not run on this CPU, or not without holding up the server.
    """
    if facts.kind == "export":
        return
    if facts.platform is not None and facts.platform != platform:
        raise ModelLoadError(
            f"'{source}' was compiled for {' '.join(facts.platform)}, and this is {' '.join(platform)}",
            f"build it on this machine: {BUILD} --device cpu",
        )
    lacking = [flag for flag in facts.cpu_flags if flags and flag not in flags]
    if lacking:
        raise ModelLoadError(
            f"'{source}' was compiled for a CPU with {', '.join(lacking)}, which this one lacks",
            f"build it on this machine: {BUILD} --device cpu",
        )
    if facts.needs_torch_operators:
        raise ModelLoadError(
            f"'{source}' uses operators that a compiled model cannot call without holding up the server",
            "write it with torch.export.save instead of compiling it",
        )


def version_warnings(facts: Pt2Facts, installed: str) -> tuple[str, ...]:
    """A compiled package relies on the PyTorch that it was compiled against."""
    written = facts.torch.partition("+")[0]
    if facts.kind == "aoti" and written and written != installed.partition("+")[0]:
        return (
            f"the model was compiled by PyTorch {facts.torch} and runs in {installed}: "
            "build it again if it fails",
        )
    return ()


def _place(device: str, capability: tuple[int, int] | None) -> str:
    return device if capability is None else f"{device} of {_capability(capability)}"


def _capability(capability: tuple[int, int] | None) -> str:
    return (
        "an unknown compute capability"
        if capability is None
        else "compute capability {}.{}".format(*capability)
    )

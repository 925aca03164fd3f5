"""The rungs: named set-ups from a plain loop to the tuned server, each with one thing more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from beyond_serve.bench.experiments.search.settings import flags_of
from beyond_serve.bench.experiments.search.space import Value

FIXED_BATCH = 16
_LONGEST_WAIT_US = 1_000_000
BY_IMAGE = ("--max-batch", "1")
BY_BATCH = ("--max-batch", "32")
ONNXRUNTIME = ("--engine", "onnxruntime", "--precision", "fp32")
OPENVINO = ("--engine", "openvino", "--precision", "fp32")


@dataclass(frozen=True, slots=True)
class Rung:
    """One set-up.

    Attributes:
        adds: what it has that the rung below has not, in words.
        program: "plain" is the Python loop, "server" ours, "" none: `why` says why it was not measured.
        threads: of the plain program.
        flags: of the server.
        concurrency: requests in flight.
        quantized: it serves the int8 copy of the model.
        counterpart: the same step in the paper, if it has one (`PUBLISHED`).
    """

    name: str
    adds: str
    program: Literal["plain", "server", ""] = ""
    threads: int = 0
    flags: tuple[str, ...] = ()
    concurrency: int = 0
    quantized: bool = False
    counterpart: int = 0
    why: str = ""


PUBLISHED: Mapping[int, tuple[str, float | None]] = {
    1: ("Python loop, PyTorch", 431.0),
    2: ("CPU decoding in batches (DALI)", 446.0),
    3: ("decoding on the GPU (nvJPEG)", 842.0),
    4: ("serving software, ONNX Runtime, fixed batches", None),
    5: ("dynamic batching", None),
    6: ("parameter search (about +300 over dynamic batching)", None),
    7: ("TensorRT", 1600.0),
}
"""Beyond 2.3, Fig. 3, ViT-Base on an RTX 4090: images/s where the text gives them, else None (bars only)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides which rungs there are: cores, and the precisions that the CPU computes fast."""

    cores: int
    bf16: bool
    int8: bool


def rungs(
    machine: Machine, concurrency: int, found: Mapping[str, Value] | None, *, no_search: str = ""
) -> list[Rung]:
    """All rungs, in order; those that this machine has not are there with the reason.

    Args:
        found: the search's settings, with the concurrency; None where no search was made, for `no_search`.
    """
    several = max(2, machine.cores)
    batch = max(1, min(FIXED_BATCH, concurrency // 2))
    waiting = ("--max-batch", str(batch), "--max-delay-us", str(_LONGEST_WAIT_US))
    steps = [
        Rung("plain loop", "aiohttp, Pillow, ONNX Runtime, one request at a time", "plain", counterpart=1),
        Rung("decoder pool", "Pillow in threads, beside inference", "plain", machine.cores, counterpart=2),
        Rung("the server", "native decoders, batches of one", "server", flags=ONNXRUNTIME + BY_IMAGE),
        Rung("faster engine", "OpenVINO, fp32", "server", flags=OPENVINO + BY_IMAGE),
        Rung(
            "fixed batches",
            f"batches of {batch}, never less",
            "server",
            flags=OPENVINO + waiting,
            counterpart=4,
        ),
        Rung(
            "dynamic batching", "up to 32, whatever waits", "server", flags=OPENVINO + BY_BATCH, counterpart=5
        ),
        Rung(
            "several instances",
            f"{several} of them",
            "server",
            flags=(*OPENVINO, *BY_BATCH, "--instances", str(several)),
        ),
    ]
    steps = [replace(step, concurrency=concurrency) for step in steps]
    return [*steps, *_tuned(machine, concurrency, found, no_search), *_on_gpu()]


def _tuned(
    machine: Machine, concurrency: int, found: Mapping[str, Value] | None, no_search: str
) -> list[Rung]:
    settings = {name: value for name, value in (found or {}).items() if name != "concurrency"}
    load = int(found["concurrency"]) if found else concurrency
    tuned = flags_of(settings) if found else BY_BATCH

    def served(rung: Rung, *flags: str) -> Rung:
        return replace(rung, program="server", concurrency=load, flags=(*flags, *tuned))

    searched = Rung("search's settings", "what beyond-bench search finds", counterpart=6)
    bf16 = Rung("compiled bf16", "the same, in bfloat16", counterpart=7)
    int8 = Rung("compiled int8", "the model quantised to int8", quantized=True)
    return [
        served(searched, *OPENVINO) if found else replace(searched, why=no_search or "no search was made"),
        served(bf16, "--engine", "openvino", "--precision", "bf16")
        if machine.bf16
        else replace(bf16, why="this CPU computes no bfloat16 (AMX)"),
        served(int8, "--engine", "openvino")
        if machine.int8
        else replace(int8, why="this CPU has no fast int8 (VNNI or AMX)"),
    ]


def _on_gpu() -> list[Rung]:
    return [
        Rung("GPU decoding", "nvJPEG", why="needs a GPU, and decoding on it", counterpart=3),
        Rung("TensorRT", "fp16 on the GPU", why="needs a GPU, and the TensorRT engine"),
    ]

"""Whether a file can run where it is asked to: decided without PyTorch and without a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.torch.engine import load_torch
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.engines.torch.fitness import check_cpu, check_device, check_precision, version_warnings
from beyond_serve.engines.torch.machine import flags_in
from beyond_serve.errors import ModelLoadError
from tests.engines.torch.archives import our_own

GRAPH = GraphFacts((), (), frozenset(), quantized=False)
CPU = Pt2Facts(
    "aoti",
    GRAPH,
    "fp32",
    "cpu",
    platform=("linux", "x86_64"),
    cpu_flags=("avx512f", "amx_tile"),
    torch="2.11.0",
)
GPU = Pt2Facts("aoti", GRAPH, "bf16", "cuda", capability=(9, 0))
PROGRAM = Pt2Facts("export", GRAPH, "fp32", "cpu")
HERE, FLAGS = ("linux", "x86_64"), frozenset({"avx2", "avx512f", "amx_tile"})


def test_what_fits() -> None:
    check_precision("m.pt2", "auto", "bf16")
    check_precision("m.pt2", "bf16", "bf16")
    check_device("m.pt2", CPU, "cpu", None)
    check_device("m.pt2", GPU, "cuda:1", (9, 0))
    check_device("m.pt2", GPU, "cuda:1", None)
    check_device("m.pt2", replace(GPU, capability=None), "cuda:0", (8, 9))
    check_device("m.pt2", PROGRAM, "cuda:0", (8, 9))
    check_device("m.pt2", replace(PROGRAM, device="cuda"), "cuda:0", (8, 9))
    check_cpu("m.pt2", CPU, HERE, FLAGS)
    check_cpu("m.pt2", CPU, HERE, frozenset())
    check_cpu("m.pt2", replace(CPU, platform=None), ("darwin", "arm64"), FLAGS)
    check_cpu("m.pt2", replace(PROGRAM, cpu_flags=("amx_tile",)), HERE, frozenset({"avx2"}))


@pytest.mark.parametrize(
    ("facts", "device", "capability", "words", "hint"),
    [
        (GPU, "cpu", None, ["cuda of compute capability 9.0", "the device is cpu"], "--device cuda"),
        (CPU, "cuda:0", (9, 0), ["compiled for cpu", "the device is cuda:0"], "--device cpu"),
        (
            GPU,
            "cuda:1",
            (8, 9),
            ["9.0", "cuda:1 is RTX of compute capability 8.9"],
            "build it on this machine",
        ),
        (replace(PROGRAM, device="cuda"), "cpu", None, ["on a GPU (cuda)", "is cpu"], "--device cuda"),
    ],
)
def test_another_device_is_refused_with_both_named(
    facts: Pt2Facts, device: str, capability: tuple[int, int] | None, words: list[str], hint: str
) -> None:
    with pytest.raises(ModelLoadError) as caught:
        check_device("m.pt2", facts, device, capability, "RTX")
    assert all(word in caught.value.message for word in words), caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("facts", "platform", "flags", "complaint"),
    [
        (CPU, ("linux", "aarch64"), frozenset(), "linux x86_64, and this is linux aarch64"),
        (CPU, HERE, frozenset({"avx2"}), "a CPU with avx512f, amx_tile"),
        (
            replace(CPU, needs_torch_operators=True),
            HERE,
            FLAGS,
            "operators that a compiled model cannot call",
        ),
    ],
)
def test_another_cpu_is_refused(
    facts: Pt2Facts, platform: tuple[str, str], flags: frozenset[str], complaint: str
) -> None:
    with pytest.raises(ModelLoadError, match=complaint):
        check_cpu("m.pt2", facts, platform, flags)


def test_another_precision_names_the_command() -> None:
    with pytest.raises(ModelLoadError, match="computes in bf16, and not in fp16") as caught:
        check_precision("m.pt2", "fp16", "bf16")
    assert "beyond-models build ARCH -o NAME.pt2 --precision fp16" in str(caught.value.hint)


def test_another_version_is_warned_of() -> None:
    assert version_warnings(CPU, "2.11.0+cu130") == ()
    assert version_warnings(replace(CPU, torch=""), "2.13.0") == ()
    assert version_warnings(replace(PROGRAM, torch="2.9.0"), "2.13.0") == ()
    (said,) = version_warnings(CPU, "2.13.0+cpu")
    assert "2.11.0" in said
    assert "2.13.0+cpu" in said


def test_a_file_for_a_gpu_asks_for_no_pytorch_on_a_cpu(tmp_path: Path) -> None:
    path = str(our_own(tmp_path / "m.pt2"))
    with pytest.raises(ModelLoadError, match=r"cuda of compute capability 9\.0, and the device is cpu"):
        load_torch(EngineConfig(path, device="cpu"), describe_model(path))


def test_the_flags_of_cpuinfo() -> None:
    text = "processor\t: 0\nflags\t\t: fpu avx2 amx_tile\n\nprocessor\t: 1\nflags\t\t: other\n"
    assert flags_in(text) == {"fpu", "avx2", "amx_tile"}
    assert flags_in("Features\t: asimd\n") == frozenset()

"""What a plan is taken for before it runs, and how a bad one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.tensorrt.describe import read_facts
from beyond_serve.errors import ModelLoadError
from tests.engines.cuda.fake_network import CLASSES
from tests.engines.tensorrt.fake_trt import DataType, FakePlan, TensorLocation

SIDES = (3, 12, 16)


def floats(*shape: int) -> dict[str, tuple[DataType, tuple[int, ...]]]:
    return {"pixels": (DataType.FLOAT, shape)}


@pytest.mark.parametrize(
    ("given", "profiles", "batch", "size"),
    [
        ((-1, *SIDES), (((1, *SIDES), (8, *SIDES)),), None, (12, 16)),
        ((4, *SIDES), (), 4, (12, 16)),
        ((-1, *SIDES), (((2, *SIDES), (2, *SIDES)),), 2, (12, 16)),
        ((-1, 3, -1, -1), (((1, 3, 8, 8), (8, 3, 99, 99)),), None, None),
        ((-1, 3, -1, -1), (((1, *SIDES), (8, *SIDES)),), None, (12, 16)),
        ((-1, 3, -1, -1), (((1, 3, 8, 8), (1, 3, 8, 8)), ((1, *SIDES), (8, *SIDES))), None, (12, 16)),
    ],
)
def test_the_widest_profile_says_what_is_free(
    installed, plan_path: Path, given, profiles, batch: int | None, size: tuple[int, int] | None
) -> None:
    outputs = {"logits": (DataType.FLOAT, (given[0], CLASSES))}
    installed(FakePlan(floats(*given), outputs, profiles))
    described = describe_model(str(plan_path))
    assert (described.batch, described.image_size) == (batch, size)
    assert (described.format, described.layout, described.datatype) == ("plan", "NCHW", "FP32")
    assert described.scores == "logits"
    assert described.outputs[0].shape == (batch or -1, CLASSES)


@pytest.mark.parametrize(("name", "probabilities"), [("probs", True), ("output0", False)])
def test_a_strangers_output_is_taken_at_its_name(installed, plan_path, name, probabilities) -> None:
    installed(FakePlan(outputs={name: (DataType.HALF, (-1, CLASSES))}))
    described = describe_model(str(plan_path))
    assert described.scores_are_probabilities == probabilities
    assert described.outputs[0].datatype == "FP16"


def test_two_inputs_are_one_too_many(installed, plan_path: Path) -> None:
    installed(FakePlan({**floats(-1, *SIDES), "mask": (DataType.FLOAT, (-1, 9))}))
    with pytest.raises(ModelLoadError, match=r"has 2 inputs \('pixels', 'mask'\)"):
        describe_model(str(plan_path))


def test_nothing_stays_loaded_and_the_same_file_is_read_once(installed, plan_path: Path) -> None:
    trt = installed()
    first = read_facts(plan_path)
    assert trt.alive == []
    trt.plan = FakePlan(outputs={"other": (DataType.FLOAT, (-1, CLASSES))})
    assert read_facts(plan_path) == first
    plan_path.write_bytes(b"ftrt, and longer than before")
    assert read_facts(plan_path).outputs[0].name == "other"


def test_host_code_is_allowed_by_a_word(installed, plan_path: Path) -> None:
    installed(FakePlan(host_code=True))
    with pytest.raises(ModelLoadError, match="brings host code of its own") as caught:
        read_facts(plan_path)
    assert caught.value.hint.startswith("--trust-plan")
    assert read_facts(plan_path, trust_plan=True).outputs[0].name == "logits"


@pytest.mark.parametrize(
    ("line", "complaint", "advice"),
    [
        (
            "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion "
            "plan.header.size == blobSize failed. In parsePlan at /_src/runtime/dispatch/runtime.cpp:780)",
            r"is truncated or damaged: Serialization \(.* assertion plan.header.size == blobSize failed",
            "copy it again",
        ),
        (
            "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion "
            "header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with "
            "incompatible serialization version (2021161080 != 1953657974).)",
            "was made by another version or kind of TensorRT; this is tensorrt-cu13 11.4.0.106",
            "beyond-models build",
        ),
        (
            "The engine plan file is not compatible with this version of TensorRT, expecting library version "
            "10.3.0.26 got 8.6.1.6, please rebuild.",
            "was made by another version or kind of TensorRT",
            "beyond-models build",
        ),
        (
            "The engine plan file is generated on an incompatible device, expecting compute 8.6 got compute "
            "9.0, please rebuild.",
            "was built for another kind of GPU",
            "on a machine with this GPU",
        ),
        (
            "Error Code 1: Cuda Runtime (CUDA driver version is insufficient for CUDA runtime version)",
            "cannot be loaded on this GPU: Cuda Runtime .CUDA driver version is insufficient",
            "see nvidia-smi",
        ),
        (
            "TensorRT plan major version does not match runtime major version.",
            "was made by another version",
            "beyond-models build",
        ),
        (
            "Error Code 9: Something new",
            "cannot load the plan .*: Something new",
            "build it with this version",
        ),
        ("", "cannot load the plan .*: it does not say why", "build it with this version"),
    ],
)
def test_a_plan_that_is_refused(installed, plan_path: Path, line: str, complaint: str, advice: str) -> None:
    installed(FakePlan(refuses=line))
    with pytest.raises(ModelLoadError, match=complaint) as caught:
        read_facts(plan_path)
    assert advice in caught.value.hint


def test_a_shape_as_input_is_refused(installed, plan_path: Path) -> None:
    installed(FakePlan(location=TensorLocation.HOST))
    with pytest.raises(ModelLoadError, match="is a shape and no data"):
        read_facts(plan_path)


def test_a_layout_of_the_gpus_own_is_refused(installed, plan_path: Path) -> None:
    installed(FakePlan(layout="Thirty-two wide channel vectorized row major FP32 format (kCHW32)"))
    with pytest.raises(ModelLoadError, match="in a layout of the GPU's own: Thirty-two wide"):
        read_facts(plan_path)

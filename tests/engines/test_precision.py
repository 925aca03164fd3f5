"""A reduced precision is used where it is right, and given up where it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.cores import has_fast_bf16
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.precision import TOLERANCE, choose_precision, disagreement, probe_images
from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import ModelLoadError
from tests.engines.batches import image_batch, infer
from tests.engines.models import Net, images, write

FULL = ("BF16", "FP16", "FP32", "INT8")


def info(*, probabilities: bool = False, scores: str | None = "y") -> EngineInfo:
    spec = TensorSpec("y", "FP32", (-1, 100))
    return EngineInfo(
        "openvino", "bf16", "cpu", (), (spec,), scores=scores, scores_are_probabilities=probabilities
    )


def logits(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 100)).astype(np.float32) * 4


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_small_errors_and_a_common_shift_are_fine() -> None:
    noise = 0.2 * TOLERANCE * logits(1)
    assert disagreement({"y": logits()}, {"y": logits() + noise}, info()) is None
    assert disagreement({"y": logits()}, {"y": logits() + 50}, info()) is None
    shifted = {"y": logits() + 50}
    assert "differs by" in (disagreement({"y": logits()}, shifted, info(scores=None)) or "")


def test_large_errors_are_wrong_even_with_the_best_class_kept() -> None:
    got = disagreement({"y": logits()}, {"y": logits() * 1.2}, info())
    assert got == "'y' differs by 20.0%"


def test_another_best_class_is_wrong_unless_it_was_as_good() -> None:
    want = logits()
    best, second = np.argsort(-want[0])[:2]
    want[0, best] += 3
    swapped = want.copy()
    swapped[0, second] = want[0, best] + 0.01
    assert disagreement({"y": want}, {"y": swapped}, info()) == "'y' has another best class"
    want[0, best] = want[0, second] + 0.01
    swapped = want.copy()
    swapped[0, [best, second]] = want[0, [second, best]]
    assert disagreement({"y": want}, {"y": swapped}, info()) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_wrong(bad: float) -> None:
    broken = logits()
    broken[1, 3] = bad
    assert disagreement({"y": logits()}, {"y": broken}, info()) == "'y' has NaN or infinity"
    assert "float32 itself" in (disagreement({"y": broken}, {"y": logits()}, info()) or "")


def test_probabilities_are_compared_by_their_logarithm() -> None:
    want, noise = logits(), 0.01 * logits(1)
    good = disagreement({"y": softmax(want)}, {"y": softmax(want + noise)}, info(probabilities=True))
    assert good is None
    flat = np.full((2, 100), 0.01, np.float32)
    assert disagreement({"y": softmax(want)}, {"y": flat}, info(probabilities=True)) is not None


def test_rounding_among_equal_classes_is_fine() -> None:
    want, got = 1e-4 * logits(), 1e-4 * logits(1)
    assert disagreement({"y": want}, {"y": got}, info()) is None
    assert disagreement({"y": softmax(want)}, {"y": softmax(got)}, info(probabilities=True)) is None
    assert disagreement({"y": want}, {"y": logits(1)}, info()) is not None


def test_whole_numbers_and_single_logits() -> None:
    whole = {"y": np.array([[1], [2]], np.int64)}
    assert disagreement(whole, {"y": whole["y"] + 1}, info()) is None
    single = {"y": np.array([[1.0], [-2.0]], np.float32)}
    assert disagreement(single, {"y": single["y"] * 1.01}, info()) is None
    assert disagreement(single, {"y": -single["y"]}, info()) is not None


def test_probes_are_the_same_each_time_and_use_the_range() -> None:
    probes = probe_images((40, 30, 3))
    np.testing.assert_array_equal(probes, probe_images((40, 30, 3)))
    assert probes.shape == (2, 40, 30, 3)
    assert probes.min() < 40
    assert probes.max() > 215
    assert (probes[0] != probes[1]).mean() > 0.5
    assert probe_images((1, 1, 3), 4).shape == (4, 1, 1, 3)


@pytest.mark.parametrize(
    ("requested", "quantized", "fast", "chosen"),
    [
        ("auto", False, True, "bf16"),
        ("auto", False, False, "fp32"),
        ("auto", True, True, "int8"),
        ("int8", True, False, "int8"),
        ("fp32", False, True, "fp32"),
        ("bf16", False, False, "bf16"),
        ("fp16", False, True, "fp16"),
    ],
)
def test_choice(requested: str, quantized: bool, fast: bool, chosen: str) -> None:
    got = choose_precision(requested, quantized=quantized, fast_bf16=fast, capabilities=FULL)
    assert got == chosen


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="needs a model file that is quantised"):
        choose_precision("int8", quantized=False, fast_bf16=True, capabilities=FULL)
    with pytest.raises(ModelLoadError, match="no bf16"):
        choose_precision("bf16", quantized=False, fast_bf16=False, capabilities=("FP32",))


needs_bf16 = pytest.mark.skipif(not has_fast_bf16(), reason="this CPU has no bfloat16")


@needs_bf16
@pytest.mark.parametrize("softmax_end", [False, True])
def test_a_sound_model_keeps_bf16(tmp_path: Path, softmax_end: bool) -> None:
    engine = load_engine(
        EngineConfig(write(tmp_path / "net.onnx", Net(softmax=softmax_end, datatype="UINT8")))
    )
    assert engine.info.precision == "bf16"
    assert engine.info.warnings == ()


@needs_bf16
@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_a_model_that_bf16_breaks_runs_in_fp32_and_says_so(tmp_path: Path, asked: str) -> None:
    source = write(tmp_path / "net.onnx", Net(delicate=True, datatype="UINT8"))
    engine = load_engine(EngineConfig(source, precision=asked))
    assert engine.info.precision == "fp32"
    assert len(engine.info.warnings) == 1
    assert engine.info.warnings[0].startswith(
        "precision bf16 was given up for fp32: at bf16 the output 'logits'"
    )
    rows = images(2)
    exact = load_engine(EngineConfig(source, precision="fp32")).create_context()
    np.testing.assert_array_equal(
        infer(engine.create_context(), image_batch(rows))["logits"], infer(exact, image_batch(rows))["logits"]
    )

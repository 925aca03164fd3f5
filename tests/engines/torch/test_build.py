"""Building .pt2 files: what is inside, that it computes what the network does, and what is refused."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.load import load_engine
from beyond_serve.engines.torch.build import BuildRequest, build_pt2
from beyond_serve.engines.torch.describe import read_pt2
from beyond_serve.engines.torch.verify_build import Deviation, check
from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.models import Net, images, normalised

HALVES = Normalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), channel_order="BGR")


def request(path: Path, **changes) -> BuildRequest:
    values = {"precision": "fp32", "max_batch": 20, "compiled": False, **changes}
    return BuildRequest(path, (12, 16), HALVES, **values)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"precision": "int8"}, "--precision int8"),
        ({"device": "cuda:1"}, "--device cuda:1"),
        ({"max_batch": 0}, "--max-batch 0"),
        ({"max_batch": 5000}, "--max-batch 5000"),
    ],
)
def test_what_cannot_be_meant(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        request(Path("m.pt2"), **changes)


def test_another_ending_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not end in \.pt2"):
        request(Path("m.onnx"))


@pytest.mark.parametrize(
    ("built", "eager", "precision", "complaint"),
    [
        (0.04, 0.001, "bf16", None),
        (0.3, 0.2, "bf16", None),
        (0.06, 0.001, "bf16", "in batches of 8 the built model's outputs are 0.06"),
        (0.7, 0.2, "bf16", "own in bf16 0.2"),
        (math.nan, 0.2, "bf16", "outputs are nan"),
        (0.0, 0.6, "fp16", "in fp16 the network's own outputs are 0.6"),
        (0.0, math.nan, "fp16", "in fp16 the network's own outputs are nan"),
        (0.002, 0.0, "fp32", "0.002"),
    ],
)
def test_how_far_off_is_too_far(built: float, eager: float, precision: str, complaint: str | None) -> None:
    if complaint is None:
        check(Deviation(built, eager), 8, precision)
        return
    with pytest.raises(ModelLoadError, match=complaint):
        check(Deviation(built, eager), 8, precision)


torch = pytest.importorskip("torch")

from tests.engines.torch import networks  # noqa: E402

COMPILED = [False, pytest.param(True, marks=pytest.mark.skipif(not shutil.which("g++"), reason="no g++"))]


def build(module, wanted: BuildRequest):
    with networks.quiet():
        return build_pt2(module.eval(), wanted)


def logits_of(path: Path, rows: np.ndarray) -> np.ndarray:
    engine = load_engine(EngineConfig(str(path), device="cpu", max_batch=4, normalization=HALVES))
    found = infer(engine.create_context(), image_batch(rows))["logits"]
    engine.close()
    return found


@pytest.mark.parametrize("compiled", COMPILED)
@pytest.mark.parametrize("network", [networks.Vit, networks.Pool])
def test_images_go_in_as_they_were_decoded(network, compiled: bool, tmp_path: Path) -> None:
    module = network()
    report = build(module, request(tmp_path / "m.pt2", compiled=compiled))
    assert report.error < 1e-4
    rows = images(23)
    expected = networks.answers(module, normalised(rows, Net(), HALVES))
    np.testing.assert_allclose(logits_of(tmp_path / "m.pt2", rows), expected, rtol=1e-3, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize("compiled", COMPILED)
def test_the_file_says_what_it_is(compiled: bool, tmp_path: Path) -> None:
    report = build(networks.Vit(), request(tmp_path / "m.pt2", compiled=compiled, precision="bf16"))
    facts = read_pt2(tmp_path / "m.pt2")
    assert facts.kind == ("aoti" if compiled else "export")
    assert facts.graph.inputs == (report.built.input,)
    assert facts.graph.outputs == (report.built.outputs)
    assert (facts.precision, facts.max_batch, facts.device) == ("bf16", 20, "cpu")
    assert facts.torch == torch.__version__
    assert not facts.described
    engine = load_engine(EngineConfig(str(tmp_path / "m.pt2"), device="cpu", normalization=HALVES))
    assert (engine.info.precision, engine.info.max_batch, engine.info.warnings) == ("bf16", 20, ())
    assert engine.info.image_shape == (12, 16, 3)


def test_tensors_of_a_built_file_are_images(tmp_path: Path) -> None:
    build(networks.Vit(), request(tmp_path / "m.pt2"))
    engine = load_engine(EngineConfig(str(tmp_path / "m.pt2"), device="cpu", normalization=HALVES))
    rows, context = images(3), engine.create_context()
    by_image, by_tensor = (infer(context, make(rows))["logits"] for make in (image_batch, tensor_batch))
    np.testing.assert_array_equal(by_image, by_tensor)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.03), ("fp16", 0.003)])
def test_reduced_precisions(precision: str, tolerance: float, tmp_path: Path) -> None:
    module = networks.Vit()
    report = build(module, request(tmp_path / "m.pt2", precision=precision))
    assert 1e-6 < report.error < tolerance
    expected = networks.answers(module, normalised(images(3), Net(), HALVES))
    found = logits_of(tmp_path / "m.pt2", images(3))
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_a_single_row_is_a_fixed_batch(tmp_path: Path) -> None:
    build(networks.Vit(), request(tmp_path / "m.pt2", max_batch=1))
    engine = load_engine(EngineConfig(str(tmp_path / "m.pt2"), device="cpu", normalization=HALVES))
    assert engine.info.fixed_batch == 1
    assert infer(engine.create_context(), image_batch(images(3)))["logits"].shape == (3, 5)


def test_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    module = networks.Pool().eval()
    before = copy.deepcopy(module.state_dict())
    build(module, request(tmp_path / "m.pt2", precision="bf16"))
    for name, values in module.state_dict().items():
        assert values.dtype == before[name].dtype
        assert torch.equal(values, before[name])


def test_nothing_of_the_machine_is_in_an_exported_file(tmp_path: Path) -> None:
    build(networks.Vit(), request(tmp_path / "m.pt2"))
    content = (tmp_path / "m.pt2").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parent).encode() not in content


class Overflowing(networks.Pool):
    """Beyond what float16 holds, so that its answers there are not numbers."""

    def forward(self, pixels):
        return super().forward(pixels) * 3e4 * 3e4 / 3e4 / 3e4


class TwoOutputs(networks.Pool):
    def forward(self, pixels):
        return super().forward(pixels).unflatten(1, (5, 1))


class Branching(networks.Pool):
    def forward(self, pixels):
        return super().forward(pixels) * (1 if pixels.sum() > 0 else 2)


@pytest.mark.parametrize(
    ("network", "changes", "complaint"),
    [
        (Overflowing, {"precision": "fp16"}, r"in fp16 the network's own outputs are (nan|inf)"),
        (TwoOutputs, {}, r"outputs are .*, not logits \[n, classes\]"),
        (Branching, {}, "PyTorch cannot export the network"),
    ],
)
def test_what_is_not_right_is_not_written(network, changes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=complaint):
        build(network(), request(tmp_path / "m.pt2", **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="sees no GPU to build for") as caught:
        build(networks.Vit(), request(tmp_path / "m.pt2", device="cuda"))
    assert "--device cpu" in str(caught.value.hint)

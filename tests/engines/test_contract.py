"""What every engine owes, whatever it runs on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.classify import classify
from beyond_serve.engines.cores import has_fast_bf16
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.protocol import Engine, ExecutionContext, RankingContext
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import encoded_batch, image_batch, infer, tensor_batch
from tests.engines.cuda.cpu_kernels import COMPILER, CpuKernelRuntime, build
from tests.engines.cuda.onnx_network import onnx_engine
from tests.engines.models import Net, images, normalised, write
from tests.engines.onnxruntime_on_cpu import onnxruntime_on_cpu

TABLE = {"name": "tiny", "input": [12, 16, 3], "classes": 7, "latency_ms": {"1": 0.01, "4": 0.02}}
CASES = {
    "null": ("null:", "auto", "auto"),
    "null image": ("null:12x16", "auto", "auto"),
    "sim": ("sim", "auto", "auto"),
    "openvino fp32": ("onnx", "openvino", "fp32"),
    "openvino bf16": ("onnx", "openvino", "bf16"),
    "openvino ir": ("xml", "openvino", "fp32"),
    "onnxruntime": ("onnx", "onnxruntime", "fp32"),
    "cuda": ("onnx", "cuda", "fp32"),
    "onnxruntime cuda": ("onnx", "onnxruntime cuda", "fp32"),
    "torch export": ("torch export", "torch", "fp32"),
    "torch aoti": ("torch aoti", "torch", "fp32"),
}
# bf16 keeps 8 bits of each factor, and a kernel for one row may round another way than one for five.
TOLERANCE = {"openvino bf16": 0.02}


@dataclass
class Loaded:
    name: str
    source: str
    engine: Engine
    context: ExecutionContext

    @property
    def tolerance(self) -> float:
        return TOLERANCE.get(self.name, 1e-5)

    def batch(self, count: int):
        shape = self.engine.info.image_shape
        return encoded_batch(count) if shape is None else image_batch(images(count, shape[:2]))


@pytest.fixture(scope="module", params=CASES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    kind, name, precision = CASES[request.param]
    if precision == "bf16" and not has_fast_bf16():
        pytest.skip("this CPU has no bfloat16")
    source = _source(kind, tmp_path_factory.mktemp("contract"))
    config = EngineConfig(
        source, engine=name, precision=precision, max_batch=4, normalization=Normalization()
    )
    if name.endswith("cuda"):
        if COMPILER is None:
            pytest.skip("g++ is not installed")
        runtime = CpuKernelRuntime(build(tmp_path_factory.mktemp("kernels")))
        make = onnx_engine if name == "cuda" else onnxruntime_on_cpu
        engine: Engine = make(replace(config, engine=name.split()[0]), runtime)
    else:
        engine = load_engine(config)
    context = engine.create_context()
    yield Loaded(request.param, source, engine, context)
    context.close()
    engine.close()


def _source(kind: str, folder: Path) -> str:
    if kind == "sim":
        (folder / "table.json").write_text(json.dumps(TABLE))
        return f"sim:{folder / 'table.json'}"
    if kind.startswith("null:"):
        return kind
    if kind.startswith("torch"):
        return _torch_source(kind, folder)
    source = write(folder / "net.onnx")
    if kind == "xml":
        import openvino

        openvino.save_model(openvino.Core().read_model(source), folder / "net.xml", compress_to_fp16=False)
        return str(folder / "net.xml")
    return source


def _torch_source(kind: str, folder: Path) -> str:
    pytest.importorskip("torch")
    if kind == "torch aoti" and COMPILER is None:
        pytest.skip("g++ is not installed")
    from tests.engines.torch import networks

    program = networks.program(networks.Conv(folder))
    if kind == "torch export":
        return networks.save(folder / "net.pt2", program)
    (folder / "net.toml").write_text(
        "[pt2]\ninput = [-1, 3, 12, 16]\noutputs = {logits = [-1, 5]}\nprecision = 'fp32'\n"
    )
    return networks.compile_to(folder / "net.pt2", program)


def test_info_agrees_with_itself_and_with_the_description(loaded: Loaded) -> None:
    info, description = loaded.engine.info, describe_model(loaded.source)
    assert info.takes_encoded or info.image_shape is not None
    assert description.takes_images == (info.image_shape is not None)
    assert info.scores in {spec.name for spec in info.outputs}
    assert info.scores == description.scores
    assert info.scores_are_probabilities == description.scores_are_probabilities
    assert all(spec.shape[0] == -1 for spec in (*info.inputs, *info.outputs))
    assert info.fixed_batch is None
    assert info.simulated == loaded.name.startswith(("null", "sim"))
    if loaded.name.startswith("openvino"):
        assert info.precision == loaded.name.split()[1].replace("ir", "fp32")


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_every_output_has_a_row_for_each_input(loaded: Loaded, count: int) -> None:
    outputs = infer(loaded.context, loaded.batch(count))
    assert set(outputs) == {spec.name for spec in loaded.engine.info.outputs}
    for spec in loaded.engine.info.outputs:
        assert outputs[spec.name].shape == (count, *spec.shape[1:])
        assert outputs[spec.name].dtype == np.float32


def test_a_row_of_a_batch_equals_the_row_alone(loaded: Loaded) -> None:
    shape = loaded.engine.info.image_shape or (1, 1, 3)
    rows = images(5, shape[:2])
    make = image_batch if loaded.engine.info.image_shape else (lambda part: encoded_batch(len(part)))
    together = infer(loaded.context, make(rows))
    for index in range(5):
        alone = infer(loaded.context, make(rows[index : index + 1]))
        for name, values in together.items():
            np.testing.assert_allclose(alone[name][0], values[index], rtol=0, atol=loaded.tolerance)


def test_stamps_never_go_back(loaded: Loaded) -> None:
    timing = BatchTiming()
    before = time.monotonic_ns()
    loaded.context.infer(loaded.batch(2), timing)
    after = time.monotonic_ns()
    assert before <= timing.copied_in <= timing.inferred <= timing.copied_out <= after


def test_outputs_may_be_kept(loaded: Loaded) -> None:
    first = infer(loaded.context, loaded.batch(4))
    copies = {name: values.copy() for name, values in first.items()}
    shape = loaded.engine.info.image_shape
    other = encoded_batch(4) if shape is None else image_batch(images(4, shape[:2], seed=2))
    infer(loaded.context, other)
    for name, values in copies.items():
        np.testing.assert_array_equal(first[name], values)


def test_inputs_are_left_alone(loaded: Loaded) -> None:
    if loaded.engine.info.image_shape is None:
        pytest.skip("takes encoded bytes")
    rows = images(3, loaded.engine.info.image_shape[:2])
    copy = rows.copy()
    infer(loaded.context, image_batch(rows))
    np.testing.assert_array_equal(rows, copy)


def test_tensors_give_what_images_give(loaded: Loaded) -> None:
    info = loaded.engine.info
    if not info.inputs:
        pytest.skip("has no tensor input")
    rows = images(3, info.image_shape[:2])
    loaded.engine.prepare_tensors()
    loaded.engine.prepare_tensors()
    by_image = infer(loaded.context, image_batch(rows))
    by_tensor = infer(loaded.context, tensor_batch(normalised(rows, Net(), Normalization())))
    for name, values in by_image.items():
        np.testing.assert_allclose(by_tensor[name], values, rtol=0, atol=max(loaded.tolerance, 1e-4))


def test_answers_are_classified(loaded: Loaded) -> None:
    result = classify(infer(loaded.context, loaded.batch(3)), loaded.engine.info, 2)
    assert result.top_scores.shape == result.top_indices.shape == (3, 2)
    assert (result.top_scores[:, 0] >= result.top_scores[:, 1]).all()
    assert (result.top_scores.sum(axis=1) <= 1 + 1e-6).all()
    assert not result.row_errors


def test_what_a_context_ranks_is_what_classify_finds(loaded: Loaded) -> None:
    if not isinstance(loaded.context, RankingContext):
        assert loaded.engine.info.ranks == 0
        pytest.skip("does not rank")
    for count, top_k in ((1, 1), (3, 2), (5, loaded.engine.info.ranks)):
        batch = loaded.batch(count)
        expected = classify(infer(loaded.context, batch), loaded.engine.info, top_k)
        scores, indices = loaded.context.rank(batch, BatchTiming(), top_k)
        np.testing.assert_array_equal(indices, expected.top_indices)
        np.testing.assert_allclose(scores, expected.top_scores, rtol=0, atol=1e-5)


def test_a_context_made_later_gives_the_same(loaded: Loaded) -> None:
    other = loaded.engine.create_context()
    batch = loaded.batch(2)
    expected = infer(loaded.context, batch)
    for name, values in infer(other, batch).items():
        np.testing.assert_array_equal(values, expected[name])
    other.close()
    other.close()
    assert set(infer(loaded.context, batch)) == set(expected)


def test_closing_twice_is_closing(tmp_path: Path) -> None:
    for source, name in (("null:", "auto"), (write(tmp_path / "a.onnx"), "openvino")):
        engine = load_engine(EngineConfig(source, engine=name))
        engine.close()
        engine.close()

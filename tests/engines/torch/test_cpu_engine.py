"""PyTorch on the CPU beyond the contract: kinds of inputs and outputs, batch limits, threads."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.load import load_engine
from beyond_serve.errors import EngineError, ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer, tensor_batch
from tests.engines.models import Net, images, normalised

torch = pytest.importorskip("torch")

from beyond_serve.engines.torch.library import use_threads  # noqa: E402
from tests.engines.torch import networks  # noqa: E402
from tests.engines.torch.extra import needs_compiler  # noqa: E402

HALVES = Normalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def load(source: str, **changes):
    return load_engine(
        EngineConfig(source, device="cpu", **{"normalization": HALVES, "max_batch": 4, **changes})
    )


class Grey(torch.nn.Module):
    def forward(self, pixels):
        return pixels.flatten(1)[:, :6]


class Named(torch.nn.Module):
    def forward(self, *, pixel_values):
        mean = pixel_values.mean((2, 3))
        return mean.to(torch.bfloat16), mean.to(torch.float16)


class Pixels(torch.nn.Module):
    def forward(self, pixels):
        return pixels.permute(0, 2, 3, 1)[:, 0, :, 0].to(torch.float32)


class Same(torch.nn.Module):
    def forward(self, pixels):
        return pixels.view(pixels.shape)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pixels_are_normalised_in_front_of_floats(order: str, tmp_path: Path) -> None:
    how = Normalization(mean=HALVES.mean, std=HALVES.std, channel_order=order)
    module = networks.Vit()
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(module)), normalization=how)
    rows = images(3)
    logits = infer(engine.create_context(), image_batch(rows))["output0"]
    expected = networks.answers(module, normalised(rows, Net(), how))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_a_grey_model(tmp_path: Path) -> None:
    exported = torch.export.export(
        Grey(), (torch.zeros(2, 1, 12, 16),), dynamic_shapes=({0: torch.export.Dim("batch", max=8)},)
    )
    engine = load(networks.save(tmp_path / "m.pt2", exported))
    rows = images(3)
    expected = normalised(rows, Net(channels=1), HALVES).reshape(3, -1)[:, :6]
    outputs = infer(engine.create_context(), image_batch(rows))
    np.testing.assert_allclose(outputs["output0"], expected, rtol=1e-5, atol=1e-5)


def test_bytes_channels_first_go_in_as_they_are(tmp_path: Path) -> None:
    example = torch.zeros(2, 3, 12, 16, dtype=torch.uint8)
    dynamic = ({0: torch.export.Dim("batch", max=8)},)
    exported = torch.export.export(Pixels(), (example,), dynamic_shapes=dynamic)
    engine = load(networks.save(tmp_path / "m.pt2", exported))
    rows = images(3)
    outputs = infer(engine.create_context(), image_batch(rows))
    np.testing.assert_array_equal(outputs["output0"], rows[:, 0, :, 0].astype(np.float32))


def test_an_input_by_keyword_and_reduced_outputs(tmp_path: Path) -> None:
    dynamic = {"pixel_values": {0: torch.export.Dim("batch", max=8)}}
    example = {"pixel_values": torch.zeros(2, 3, 12, 16)}
    exported = torch.export.export(Named(), (), example, dynamic_shapes=dynamic)
    engine = load(networks.save(tmp_path / "m.pt2", exported))
    rows = images(3)
    outputs = infer(engine.create_context(), image_batch(rows))
    expected = normalised(rows, Net(), HALVES).mean(axis=(2, 3))
    assert [spec.datatype for spec in engine.info.outputs] == ["FP32", "FP16"]
    assert [values.dtype for values in outputs.values()] == [np.float32, np.float16]
    for values in outputs.values():
        np.testing.assert_allclose(values, expected, atol=0.02)


def test_an_output_that_is_the_input_may_be_kept(tmp_path: Path) -> None:
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(Same())))
    context = engine.create_context()
    rows = normalised(images(2), Net(), HALVES)
    kept = infer(context, tensor_batch(rows))["output0"]
    before = kept.copy()
    rows[:] = 0
    np.testing.assert_array_equal(kept, before)


def test_memory_that_is_only_read_is_read(tmp_path: Path) -> None:
    module = networks.Vit()
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(module)))
    rows = images(1)
    rows.flags.writeable = False
    logits = infer(engine.create_context(), image_batch(rows))["output0"]
    expected = networks.answers(module, normalised(rows, Net(), HALVES))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_more_rows_than_the_file_takes_run_in_parts(tmp_path: Path) -> None:
    module = networks.Vit()
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(module)), max_batch=100)
    assert engine.info.max_batch == networks.BATCH
    rows = images(networks.BATCH + 3)
    logits = infer(engine.create_context(), image_batch(rows))["output0"]
    expected = networks.answers(module, normalised(rows, Net(), HALVES))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_is_padded(tmp_path: Path) -> None:
    module = networks.Vit()
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(module, batch=4)))
    assert engine.info.fixed_batch == 4
    assert "fixed batch of 4" in engine.info.warnings[0]
    rows = images(6)
    logits = infer(engine.create_context(), image_batch(rows))["output0"]
    expected = networks.answers(module, normalised(rows, Net(), HALVES))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_another_precision_than_the_files_is_refused(tmp_path: Path) -> None:
    source = networks.save(tmp_path / "m.pt2", networks.program(networks.Vit()))
    with pytest.raises(ModelLoadError, match="computes in fp32, and not in bf16"):
        load(source, precision="bf16")


def test_without_pytorch_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = networks.save(tmp_path / "m.pt2", networks.program(networks.Vit()))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelLoadError, match="the package torch") as caught:
        load(source)
    assert "pip install" in str(caught.value.hint)


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = load(networks.save(tmp_path / "m.pt2", networks.program(networks.Vit())))
    context = engine.create_context()
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        infer(context, image_batch(images(1)))
    context.close()
    with pytest.raises(EngineError, match="the context is closed"):
        infer(context, image_batch(images(1)))


def test_threads_are_each_callers_own() -> None:
    """Both have set theirs before either asks."""
    found: dict[int, int] = {}
    both = threading.Barrier(2)

    def ask(threads: int) -> None:
        use_threads(torch, threads)
        both.wait()
        torch.zeros(1000).sum()
        found[threads] = torch.get_num_threads()

    callers = [threading.Thread(target=ask, args=(threads,)) for threads in (1, 2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {1: 1, 2: 2}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    networks.compile_to(folder / "m.pt2", networks.program(networks.Conv(folder)))
    return folder / "m.pt2"


def described(compiled: Path, text: str) -> str:
    compiled.with_suffix(".toml").write_text(f"[pt2]\n{text}\n")
    return str(compiled)


@needs_compiler
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("input = [-1, 3, 24, 16]\noutputs = {a = [-1, 5]}", "expected: 12, but got: 24"),
        ("input = [-1, 3, 12, 16]\noutputs = {a = [-1, 5]}\ndatatype = 'UINT8'", "unmatched dtype"),
        ("input = [-1, 3, 12, 16]\noutputs = {a = [-1, 5]}\nmax_batch = 65", "too large at 0"),
        ("input = [-1, 3, 12, 16]\noutputs = {a = [-1, 7]}", r"said to be \[-1, 7\] and is \[-1, 5\]"),
        ("input = [-1, 3, 12, 16]\noutputs = {a = [-1, 5], b = [-1, 5]}", "1 outputs, not the 2"),
    ],
)
def test_a_package_that_is_described_wrongly_is_refused(text: str, complaint: str, compiled: Path) -> None:
    with pytest.raises(ModelLoadError, match=complaint):
        load(described(compiled, text))


@needs_compiler
def test_a_package_of_others_is_served(compiled: Path) -> None:
    engine = load(
        described(compiled, "input = [-1, 3, 12, 16]\noutputs = {scores = [-1, 5]}\nmax_batch = 64")
    )
    module, rows = networks.Conv(compiled.parent), images(70)
    scores = infer(engine.create_context(), image_batch(rows))["scores"]
    expected = networks.answers(module, normalised(rows, Net(), HALVES))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    engine.close()
    engine.close()


@needs_compiler
def test_contexts_run_side_by_side(compiled: Path) -> None:
    """More threads than the package was loaded for: each waits for a model that is free."""
    source = described(compiled, "input = [-1, 3, 12, 16]\noutputs = {scores = [-1, 5]}")
    engine = load(source, instances=2, threads=1)
    rows = [images(4, seed=seed) for seed in range(3)]
    expected = [
        networks.answers(networks.Conv(compiled.parent), normalised(one, Net(), HALVES)) for one in rows
    ]
    wrong: list[int] = []

    def run(number: int) -> None:
        context = engine.create_context()
        for _ in range(30):
            found = infer(context, image_batch(rows[number]))["scores"]
            if not np.allclose(found, expected[number], rtol=1e-4, atol=1e-5):
                wrong.append(number)

    callers = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    engine.close()

"""What the GPU's side asks of PyTorch is there, by these names and parameters: the fake cannot say so."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.torch.cuda_network import exported_on
from beyond_serve.engines.torch.describe import read_pt2

torch = pytest.importorskip("torch")

from tests.engines.torch import networks  # noqa: E402


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        ("cuda.CUDAGraph.capture_begin", {"pool", "capture_error_mode"}),
        ("cuda.CUDAGraph.capture_end", set()),
        ("cuda.CUDAGraph.replay", set()),
        ("cuda.CUDAGraph.reset", set()),
        ("cuda.ExternalStream.__new__", {"stream_ptr", "device"}),
        ("cuda.graph_pool_handle", set()),
        ("cuda.stream", {"stream"}),
        ("cuda.device", set()),
        ("cuda.set_device", {"device"}),
        ("cuda.synchronize", {"device"}),
        ("cuda.empty_cache", set()),
        ("_inductor.aoti_load_package", {"path", "run_single_threaded", "device_index"}),
        ("utils._pytree.tree_leaves", {"tree"}),
    ],
)
def test_functions(function: str, parameters: set[str]) -> None:
    found = torch
    for name in function.split("."):
        found = getattr(found, name)
    assert parameters <= set(inspect.signature(found).parameters)


def test_errors_are_of_the_kind_that_is_caught() -> None:
    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    assert issubclass(torch.AcceleratorError, RuntimeError)


def test_device_memory_becomes_a_tensor_by_its_interface() -> None:
    """On a machine without CUDA PyTorch gets as far as asking for the device."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    from beyond_serve.engines.torch.cuda_program import DeviceBytes

    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda"):
        torch.as_tensor(DeviceBytes(4096, 16), device="cuda:0")


def test_an_exported_program_is_moved_and_run(tmp_path: Path) -> None:
    """To the only device that is here; the pass is the same for any."""
    module = networks.Conv(tmp_path)
    path = Path(networks.save(tmp_path / "m.pt2", networks.program(module)))
    rows = np.random.default_rng(0).standard_normal((3, 3, 12, 16), dtype=np.float32)
    with networks.quiet():
        run = exported_on(torch, path, read_pt2(path), "cpu")
        (logits,) = run(torch.from_numpy(rows))
    np.testing.assert_allclose(logits.numpy(), networks.answers(module, rows), rtol=1e-4, atol=1e-5)

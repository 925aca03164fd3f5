"""One model in each framework that is installed, as functions of a float32 batch."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.bench.experiments.local_model import LocalModel, infer
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.precision import disagreement
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.errors import BeyondError, ConfigError, ModelLoadError

Floats = NDArray[np.float32]
Outputs = Mapping[str, NDArray[np.generic]]

ONNX_RUNTIME = "ONNX Runtime fp32"
ENGINES = (
    (ONNX_RUNTIME, "onnxruntime", "fp32"),
    ("OpenVINO fp32", "openvino", "fp32"),
    ("OpenVINO bf16", "openvino", "bf16"),
)
TORCH = "PyTorch"


@dataclass(frozen=True, slots=True)
class Network:
    """`run` infers float32 [n, 3, H, W] on all cores; its outputs by the model's names, in order."""

    name: str
    run: Callable[[Floats], Outputs]
    info: EngineInfo | None = None


def networks(
    model: LocalModel, torch_file: str | None, stack: contextlib.ExitStack
) -> tuple[list[Network], list[str]]:
    """What can run the model, and of the rest why not. `stack` closes the engines.

    Raises:
        ConfigError, ModelLoadError: the file for PyTorch is none, or no framework can run the model.
    """
    found: list[Network] = []
    told: list[str] = []
    for name, engine, precision in ENGINES:
        try:
            loaded = stack.enter_context(contextlib.closing(model.load(engine, precision)))
        except ModelLoadError as error:
            told.append(f"{name}: {error.message}")
            continue
        if loaded.info.precision != precision:
            told.append(f"{name}: {'; '.join(loaded.info.warnings)}")
            continue
        context = stack.enter_context(contextlib.closing(loaded.create_context()))
        found.append(Network(name, functools.partial(infer, context), loaded.info))
    if not found:
        raise ModelLoadError(f"no engine runs '{model.name}'", "; ".join(told))
    if torch_file is not None:
        info = found[0].info
        assert info is not None
        found.append(torch_network(Path(torch_file), tuple(spec.name for spec in info.outputs)))
    else:
        told.append(f"{TORCH}: no file of this model was given (--torch FILE, .pt2 or TorchScript)")
    return found, told


def torch_network(path: Path, names: Sequence[str]) -> Network:
    """A .pt2 of torch.export, or TorchScript, on the CPU, eager, in float32.

    Raises:
        ConfigError: torch is not installed, or there is no such file.
        ModelLoadError: torch cannot read it.
    """
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise ConfigError(
            f"--torch needs torch: {error}", "pip install torch, or leave --torch out"
        ) from None
    if not path.is_file():
        raise ConfigError(f"no model is at '{path}'", "give a .pt2 of torch.export.save, or TorchScript")
    try:
        module = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(path).eval()
    except Exception as error:
        # torch raises what it likes for files that are none.
        raise ModelLoadError(f"torch cannot read '{path}': {str(error).splitlines()[0]}") from error
    torch.set_num_threads(available_cores())

    def run(rows: Floats) -> Outputs:
        with torch.inference_mode():
            made = module(torch.from_numpy(rows))
        values = made if isinstance(made, (tuple, list)) else [made]
        return {name: value.numpy() for name, value in zip(names, values, strict=False)}

    return Network(f"{TORCH} {torch.__version__} fp32", run)


def answers_differ(networks: Sequence[Network], rows: Floats) -> list[str]:
    """A line for each network that does not give the first one's answers: its speed says nothing.

    Raises:
        ConfigError: a network does not take these rows.
    """
    first = networks[0]
    assert first.info is not None
    expected = first.run(rows)
    told = []
    for network in networks[1:]:
        try:
            wrong = disagreement(expected, network.run(rows), first.info)
        except BeyondError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{network.name} does not take float32 {list(rows.shape)}: {str(error).splitlines()[0]}",
                "the file must be the same model, with a free batch axis",
            ) from error
        if wrong is not None:
            told.append(f"DIFFERENT ANSWERS, {network.name} against {first.name}: the output {wrong}")
    return told

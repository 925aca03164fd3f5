"""Make a .pt2 file from a module: normalisation and layout inside, compiled for the device it is built on."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyond_serve.engines.foreign import one_line
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.facts import METADATA_KEY, Built
from beyond_serve.engines.torch.library import load_library, make_explicit
from beyond_serve.engines.torch.served_module import served_module
from beyond_serve.engines.torch.verify_build import verify
from beyond_serve.errors import ConfigError, ModelLoadError

if TYPE_CHECKING:
    from beyond_serve.preprocess.plan import Normalization

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# Not "image": so the server calls the input of encoded images.
INPUT_NAME, OUTPUT_NAME = "pixels", "logits"
LARGEST_BATCH = 4096


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """
    Attributes:
        output: NAME.pt2; replaced if it exists.
        image_size: (H, W) of the decoded images.
        normalization: goes into the file.
        precision: "fp32", "bf16" or "fp16", of weights and activations; pixels are normalised in float32.
        max_batch: batches of 1 to so many rows.
        device: "cpu" or "cuda", which must be there.
        compiled: by AOTInductor; without, the exported program is written, which runs on any device, operator
            by operator.

    Raises:
        ConfigError: a value that cannot be meant.
    """

    output: Path
    image_size: tuple[int, int]
    normalization: Normalization
    precision: str = "bf16"
    max_batch: int = 64
    device: str = "cpu"
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.output.suffix.lower() != ".pt2":
            raise ConfigError(
                f"'{self.output}' does not end in .pt2", "the server knows models by their ending"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"--precision {self.precision} cannot be built", f"one of {', '.join(PRECISIONS)}"
            )
        if self.device not in ("cpu", "cuda"):
            raise ConfigError(f"--device {self.device} cannot be built for", "cpu or cuda: the first GPU")
        if not 1 <= self.max_batch <= LARGEST_BATCH:
            raise ConfigError(f"--max-batch {self.max_batch}: must lie between 1 and {LARGEST_BATCH}")


@dataclass(frozen=True, slots=True)
class BuildReport:
    """
    Attributes:
        built: as the file says of itself.
        error: the largest distance of a row of outputs from the module's own in float32, relative to that
            row's length, on random images in batches of 1 and of the largest size.
        eager_error: the same of the module in the file's precision: what the precision itself costs.
    """

    built: Built
    error: float
    eager_error: float


def build_pt2(module: Any, request: BuildRequest, say: Callable[[str], None] = lambda _: None) -> BuildReport:
    """Write `request.output`, once its answers agree with the module's.

    Args:
        module: torch.nn.Module in evaluation mode, on the CPU and in float32, from [n, 3, H, W] to logits
            [n, classes]. Left as it is.
        say: hears of each step.

    Raises:
        ModelLoadError: PyTorch is missing, cannot export or compile the module, the device is not there, or
            the file's answers differ.
        OSError: the file cannot be written.
    """
    torch = load_library()
    _check_device(torch, request.device)
    make_explicit(torch)
    dtype = getattr(torch, PRECISIONS[request.precision])
    reference = copy.deepcopy(module).to(request.device)
    model = served_module(torch, copy.deepcopy(reference), request.normalization, dtype).to(request.device)
    say(f"exporting for batches of up to {request.max_batch}")
    program = _exported(torch, model, request)
    built = _describe(torch, program, request)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=request.output.parent) as folder:
        unfinished = Path(folder) / request.output.name
        if request.compiled:
            say(f"compiling for {request.device}")
            _compile(torch, program, built, unfinished)
        else:
            torch.export.save(program, str(unfinished), extra_files={METADATA_KEY: built.to_json()})
        say("comparing it with the network in float32")
        plain = served_module(torch, reference, request.normalization, torch.float32).to(request.device)
        deviation = verify(torch, unfinished, model, plain, request)
        os.replace(unfinished, request.output)
    return BuildReport(built, deviation.built, deviation.eager)


def _check_device(torch: Any, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError(
            f"the installed PyTorch {torch.__version__} sees no GPU to build for",
            "build on the machine that will serve it, or use --device cpu",
        )


def _exported(torch: Any, model: Any, request: BuildRequest) -> Any:
    rows = min(2, request.max_batch)
    example = torch.zeros((rows, *request.image_size, 3), dtype=torch.uint8, device=request.device)
    # A size of 1 alone is no range.
    free = None if rows == 1 else torch.export.Dim("batch", min=1, max=request.max_batch)
    with _refused("export"), torch.no_grad():
        program = torch.export.export(model, (example,), dynamic_shapes=({0: free} if free else None,))
    for node in program.graph.nodes:
        # Of the machine that it was built on.
        node.meta.pop("stack_trace", None)
    return program


def _describe(torch: Any, program: Any, request: BuildRequest) -> Built:
    outputs = [node.meta["val"] for node in program.graph.find_nodes(op="output")[0].args[0]]
    if len(outputs) != 1 or outputs[0].ndim != 2:
        shapes = ", ".join(str([str(size) for size in value.shape]) for value in outputs)
        raise ModelLoadError(f"the network's outputs are {shapes}, not logits [n, classes]")
    batch = 1 if request.max_batch == 1 else -1
    cuda = request.device == "cuda"
    return Built(
        input=TensorSpec(INPUT_NAME, "UINT8", (batch, *request.image_size, 3)),
        outputs=(TensorSpec(OUTPUT_NAME, "FP32", (batch, int(outputs[0].shape[1]))),),
        max_batch=request.max_batch,
        precision=request.precision,
        device=request.device,
        capability=tuple(torch.cuda.get_device_capability()) if cuda else None,
        torch=str(torch.__version__),
    )


def _compile(torch: Any, program: Any, built: Built, path: Path) -> None:
    settings = {
        "aot_inductor.metadata": {METADATA_KEY: built.to_json()},
        # Else the number of threads at build time stays in the code.
        "cpp.dynamic_threads": True,
    }
    with _refused("compile"), torch.no_grad():
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # PyTorch's compilers have no common error
        raise ModelLoadError(
            f"PyTorch cannot {what} the network: {one_line(error)}",
            "compiling needs a C++ compiler (g++), and the CUDA toolkit's headers for a GPU",
        ) from error

"""Known architectures as .pt2 files for PyTorch: build, compile, verify, and write what the server reads."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beyond_serve.engines.torch.build import BuildReport, BuildRequest, build_pt2
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import Normalization
from beyond_serve.zoo import load, torch_extra
from beyond_serve.zoo.card import RANDOM_WARNING, card_text
from beyond_serve.zoo.catalogue import Architecture, Library
from beyond_serve.zoo.hub import fetch as fetch_from_hub
from beyond_serve.zoo.network import Network
from beyond_serve.zoo.output_files import check_output
from beyond_serve.zoo.sidecar import sidecar_text


@dataclass(frozen=True, slots=True)
class Pt2Card:
    """What is known of one built file, as NAME.model.json says it; names as in `ModelCard`.

    Attributes:
        macs: multiply-accumulates an image, counted by PyTorch in float32.
        relative_error, eager_error: see `BuildReport`.
    """

    architecture: str
    library: str
    library_version: str
    weights: str
    origin: str
    image_size: int
    classes: int
    parameters: int
    macs: int
    precision: str
    max_batch: int
    device: str
    compiled: bool
    relative_error: float
    eager_error: float
    torch_version: str

    @property
    def warning(self) -> str | None:
        return RANDOM_WARNING if self.weights == "random" else None

    def to_json(self) -> str:
        return card_text(asdict(self), self.macs, self.warning)


@dataclass(frozen=True, slots=True)
class ArchRequest:
    """Which network to build, how, and where to.

    Attributes:
        architecture: None with a checkpoint, which says what it is.
        output: NAME.pt2; NAME.toml and NAME.model.json are written beside it.
        weights, seed, image_size, checkpoint, overwrite: as `ExportRequest` has them.
        precision, max_batch, device, compiled: as `BuildRequest` has them.

    Raises:
        ConfigError: a value that cannot be meant.
    """

    architecture: Architecture | None
    output: Path
    weights: load.WeightsWanted = "auto"
    seed: int = 0
    image_size: int | None = None
    checkpoint: Path | None = None
    overwrite: bool = False
    precision: str = "bf16"
    max_batch: int = 64
    device: str = "cpu"
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.weights == "random":
            raise ConfigError("--weights random takes no --checkpoint", "leave one of them out")
        # Checks its values before anything long is done; size and normalisation follow from the network.
        self.build_request((1, 1), Normalization())

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The model, its preprocessing and labels, its card."""
        return self.output, self.output.with_suffix(".toml"), self.output.with_suffix(".model.json")

    def build_request(self, image_size: tuple[int, int], normalization: Normalization) -> BuildRequest:
        """Raises ConfigError for a value that cannot be built. image_size: (H, W)."""
        return BuildRequest(
            self.output,
            image_size,
            normalization,
            self.precision,
            self.max_batch,
            self.device,
            self.compiled,
        )

    def library(self) -> Library:
        """Raises ConfigError if nothing is named, or the checkpoint is nobody's."""
        if self.checkpoint is not None:
            return load.library_of_folder(self.checkpoint)
        if self.architecture is None:
            raise ConfigError(
                "neither an architecture nor a --checkpoint is named",
                "`beyond-models export --list` shows them",
            )
        return self.architecture.library


def build_arch(
    request: ArchRequest, say: load.Say = lambda _: None, fetch: load.Fetch = fetch_from_hub
) -> Pt2Card:
    """Write the three files of `request`; `say` hears of each step.

    Raises:
        ConfigError: something asked for cannot be done.
        ModelLoadError: the extra is missing, weights are damaged or not to be had, PyTorch cannot compile the
            network, or the built file disagrees with it.
        OSError: a file cannot be written.
    """
    library = request.library()
    for module in ("torch", library):
        torch_extra.load(module)
    check_output(request.files, overwrite=request.overwrite)
    with torch_extra.quiet():
        network = _network(request, say, fetch)
        macs = _macs(network)
        _fuse_attention(network.module)
        size = network.plan.output_shape[:2]
        say(
            f"building {network.parameters / 1e6:.2f} M parameters at {size[1]}x{size[0]} "
            f"in {request.precision}"
        )
        wanted = request.build_request(size, network.plan.normalization)
        report = build_pt2(network.module, wanted, say)
    card = _card(request.architecture, library, network, macs, wanted, report)
    _, sidecar, card_file = request.files
    sidecar.write_text(_sidecar(card, network), encoding="utf-8")
    card_file.write_text(card.to_json(), encoding="utf-8")
    return card


def _sidecar(card: Pt2Card, network: Network) -> str:
    origin = f"{card.architecture}, {card.weights} weights ({card.origin}); written by beyond-models build"
    comment = origin if card.warning is None else f"{origin}\n{card.warning}"
    return sidecar_text(network.plan, network.labels, comment)


def _network(request: ArchRequest, say: load.Say, fetch: load.Fetch) -> Network:
    if request.checkpoint is not None:
        return load.from_checkpoint(request.checkpoint, request.architecture, request.image_size)
    assert request.architecture is not None
    return load.from_architecture(
        request.architecture, request.weights, request.seed, request.image_size, say, fetch
    )


def _macs(network: Network) -> int:
    torch = torch_extra.load("torch")
    height, width, _ = network.plan.output_shape
    counter = torch_extra.load("torch.utils.flop_counter").FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.module(torch.zeros(1, 3, height, width))
    return int(counter.get_total_flops()) // 2


def _fuse_attention(module: Any) -> None:
    """Exports to ONNX want attention in plain operations; PyTorch has it in one kernel."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):  # timm's
            part.fused_attn = True
        elif hasattr(part, "set_attn_implementation"):  # transformers'
            with contextlib.suppress(ValueError):  # a network without attention, or without a fused one
                part.set_attn_implementation("sdpa")


def _card(
    architecture: Architecture | None,
    library: Library,
    network: Network,
    macs: int,
    request: BuildRequest,
    report: BuildReport,
) -> Pt2Card:
    return Pt2Card(
        architecture=architecture.name if architecture else network.origin,
        library=library,
        library_version=torch_extra.load(library).__version__,
        weights=network.weights,
        origin=network.origin,
        image_size=request.image_size[0],
        classes=report.built.outputs[0].shape[1],
        parameters=network.parameters,
        macs=macs,
        precision=request.precision,
        max_batch=request.max_batch,
        device=request.device,
        compiled=request.compiled,
        relative_error=report.error,
        eager_error=report.eager_error,
        torch_version=report.built.torch,
    )

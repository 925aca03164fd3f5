"""Exporting a model: build, convert, count, verify, and write the files that the server reads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from beyond_serve.errors import ConfigError
from beyond_serve.zoo import load, torch_extra
from beyond_serve.zoo.card import ModelCard
from beyond_serve.zoo.catalogue import Architecture, Library
from beyond_serve.zoo.cost import count
from beyond_serve.zoo.hub import fetch as fetch_from_hub
from beyond_serve.zoo.network import Network
from beyond_serve.zoo.onnx_graph import DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET, to_onnx, write
from beyond_serve.zoo.output_files import check_output
from beyond_serve.zoo.sidecar import sidecar_text
from beyond_serve.zoo.verify import verify

_LARGEST_IMAGE = 2048
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to.

    Attributes:
        architecture: None with a checkpoint, which says what it is.
        output: NAME.onnx; NAME.toml and NAME.model.json are written beside it.
        weights: for an architecture; a checkpoint is its own.
        seed: of random weights, and of the images that the file is verified with.
        image_size: pixels of the square input; None for the size the model was published with.
        opset: of ONNX.
        checkpoint: folder in transformers' or timm's layout.
        overwrite: files that exist may be replaced.

    Raises:
        ConfigError: a value that cannot be meant.
    """

    architecture: Architecture | None
    output: Path
    weights: load.WeightsWanted = "auto"
    seed: int = 0
    image_size: int | None = None
    opset: int = DEFAULT_OPSET
    checkpoint: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.architecture is None and self.checkpoint is None:
            raise ConfigError(
                "neither an architecture nor a --checkpoint is named", "`--list` shows architectures"
            )
        if self.checkpoint is not None and self.weights == "random":
            raise ConfigError("--weights random takes no --checkpoint", "leave one of them out")
        if self.output.suffix.lower() != ".onnx":
            raise ConfigError(
                f"'{self.output}' does not end in .onnx", "the server knows models by their ending"
            )
        if self.image_size is not None and not 8 <= self.image_size <= _LARGEST_IMAGE:
            raise ConfigError(f"--image-size {self.image_size}: must lie between 8 and {_LARGEST_IMAGE}")
        if not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise ConfigError(f"--opset {self.opset}: must lie between {OLDEST_OPSET} and {NEWEST_OPSET}")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ConfigError(f"--seed {self.seed}: must lie between 0 and 2^63 - 1")

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The model, its preprocessing and labels, its card."""
        return self.output, self.output.with_suffix(".toml"), self.output.with_suffix(".model.json")

    def library(self) -> Library:
        """Raises ConfigError if the checkpoint is nobody's."""
        if self.checkpoint is not None:
            return load.library_of_folder(self.checkpoint)
        assert self.architecture is not None
        return self.architecture.library


def export(
    request: ExportRequest, say: Callable[[str], None], fetch: load.Fetch = fetch_from_hub
) -> ModelCard:
    """Write the three files of `request`, all of them or none; `say` hears of each step.

    Raises:
        ConfigError: something asked for cannot be done.
        ModelLoadError: the extra is missing, weights are damaged or not to be had, or the exported file
            disagrees with torch.
        OSError: a file cannot be written.
    """
    library = request.library()
    torch_extra.require_all(library)
    check_output(request.files, overwrite=request.overwrite)
    with torch_extra.quiet():
        network = _network(request, say, fetch)
    size = network.plan.output_shape[0]
    say(f"exporting {network.parameters / 1e6:.2f} M parameters at {size}x{size}")
    proto = to_onnx(network.module, size, request.opset)
    card = ModelCard(
        architecture=request.architecture.name if request.architecture else network.origin,
        library=library,
        library_version=torch_extra.load(library).__version__,
        weights=network.weights,
        origin=network.origin,
        image_size=size,
        classes=proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value,
        parameters=network.parameters,
        macs=count(proto).macs,
        opset=request.opset,
        largest_difference=0.0,
        difference_of_spread=0.0,
        torch_version=torch_extra.load("torch").__version__,
    )
    with tempfile.TemporaryDirectory(prefix=".export-", dir=request.output.parent) as unfinished:
        return _write(request, network, proto, card, Path(unfinished), say)


def _network(request: ExportRequest, say: Callable[[str], None], fetch: load.Fetch) -> Network:
    if request.checkpoint is not None:
        return load.from_checkpoint(request.checkpoint, request.architecture, request.image_size)
    assert request.architecture is not None
    return load.from_architecture(
        request.architecture, request.weights, request.seed, request.image_size, say, fetch
    )


def _write(
    request: ExportRequest, network: Network, proto: object, card: ModelCard, unfinished: Path, say: load.Say
) -> ModelCard:
    """Into `unfinished` first; only what was verified gets its name."""
    model, sidecar, card_file = (unfinished / path.name for path in request.files)
    write(proto, model, card.properties())
    say("comparing ONNX Runtime with torch")
    agreement = verify(model, network.module, card.image_size, request.seed)
    card = replace(card, largest_difference=agreement.difference, difference_of_spread=agreement.share)
    origin = f"{card.architecture}, {card.weights} weights ({card.origin}); written by beyond-models export"
    comment = origin if card.warning is None else f"{origin}\n{card.warning}"
    sidecar.write_text(sidecar_text(network.plan, network.labels, comment), encoding="utf-8")
    card_file.write_text(card.to_json(), encoding="utf-8")
    for source, target in zip((card_file, sidecar, model), reversed(request.files), strict=True):
        os.replace(source, target)
    return card

"""`beyond-models export`: a known classifier as an ONNX file that the server serves at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from beyond_serve.errors import ConfigError
from beyond_serve.zoo.card import ModelCard
from beyond_serve.zoo.catalogue import ARCHITECTURES, Architecture, find
from beyond_serve.zoo.export import ExportRequest, export
from beyond_serve.zoo.onnx_graph import DEFAULT_OPSET

WEIGHTS = ("auto", "pretrained", "random")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The subcommand, with `run` set to what runs it."""
    parser = commands.add_parser(
        "export",
        help="write a known architecture as ONNX (needs the extra: beyond-serve[export])",
        description="Write a classifier as FILE.onnx, its preprocessing and labels as FILE.toml, and what is "
        "known of it as FILE.model.json.",
    )
    parser.add_argument(
        "architecture", nargs="?", metavar="ARCH", help="see --list; or timm:MODEL, or hf:OWNER/NAME"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: ARCH.onnx")
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="auto",
        help="auto takes random ones, with a warning, where no hub is reachable; default: %(default)s",
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER", help="weights in transformers' or timm's layout"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random weights; default: %(default)s")
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="of the square input; default: as published"
    )
    parser.add_argument("--opset", type=int, default=DEFAULT_OPSET, help="of ONNX; default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--list", action="store_true", help="show the known architectures and what they cost")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Raises ConfigError, ModelLoadError, OSError."""
    if arguments.list:
        console.print(_listing())
        return
    architecture = find(arguments.architecture) if arguments.architecture else None
    request = ExportRequest(
        architecture=architecture,
        output=arguments.output or _default_output(architecture, arguments.checkpoint),
        weights=arguments.weights,
        seed=arguments.seed,
        image_size=arguments.image_size,
        opset=arguments.opset,
        checkpoint=arguments.checkpoint,
        overwrite=arguments.overwrite,
    )
    card = export(request, lambda step: console.print(step, style="dim", markup=False, soft_wrap=True))
    _report(request, card, console)


def _default_output(architecture: Architecture | None, checkpoint: Path | None) -> Path:
    if architecture is not None:
        return Path(f"{architecture.name}.onnx")
    if checkpoint is not None:
        return Path(f"{checkpoint.resolve().name}.onnx")
    raise ConfigError("no architecture is named", "`beyond-models export --list` shows them")


def _listing() -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", no_wrap=True)
    for column in ("image", "GMACs", "parameters"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("library", no_wrap=True)
    table.add_column("pretrained weights", overflow="fold")
    for entry in ARCHITECTURES.values():
        table.add_row(
            entry.name,
            str(entry.image_size),
            f"{entry.gmacs:.2f}",
            f"{entry.millions:.2f} M",
            entry.library,
            entry.hub,
        )
    return table


def _report(request: ExportRequest, card: ModelCard, console: Console) -> None:
    model, sidecar, card_file = request.files
    if card.warning is not None:
        console.print(
            f"WARNING: {card.warning} ({card.origin})", style="bold red", markup=False, soft_wrap=True
        )
    console.print(
        f"wrote {model} ({model.stat().st_size / 1e6:.1f} MB), {sidecar.name} and {card_file.name}: "
        f"{card.macs / 1e9:.3f} GMACs ({2 * card.macs / 1e9:.3f} GFLOPs) an image, "
        f"{card.parameters / 1e6:.2f} M parameters; ONNX Runtime's logits differ from torch's by at most "
        f"{card.difference_of_spread:.1e} of what another image does to them",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"serve it: beyond-serve --model {model}", markup=False, highlight=False, soft_wrap=True)

"""`beyond-models build ARCH -o FILE.pt2`: a known architecture for PyTorch, compiled for this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from beyond_serve.errors import ConfigError
from beyond_serve.server.export_command import WEIGHTS
from beyond_serve.zoo.build_pt2 import ArchRequest, Pt2Card, build_arch
from beyond_serve.zoo.catalogue import find

DEFAULT_PRECISION = "bf16"
_FOR_PLANS = {"opt_batch": None, "flavour": "auto", "compute_capability": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only a .pt2 file takes."""
    group = parser.add_argument_group("for a .pt2 file")
    group.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="that it is compiled for, of this machine; default: cuda if any",
    )
    group.add_argument(
        "--weights",
        choices=WEIGHTS,
        help="auto takes random ones, with a warning, where no hub is reachable; default: auto",
    )
    group.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER", help="weights in transformers' or timm's layout"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of random weights; default: 0")
    group.add_argument(
        "--no-compile",
        action="store_true",
        help="write the exported program: runs on any device, operator by operator",
    )


def check_absent(arguments: argparse.Namespace) -> None:
    """Raises ConfigError if something is asked for that only a .pt2 file takes."""
    for name in ("device", "weights", "checkpoint", "seed", "no_compile"):
        if getattr(arguments, name) not in (None, False):
            raise ConfigError(
                f"--{name.replace('_', '-')} is for .pt2 files", "leave it out, or use -o NAME.pt2"
            )


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Raises ConfigError, ModelLoadError, OSError."""
    for name, default in _FOR_PLANS.items():
        if getattr(arguments, name) != default:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for TensorRT's plans", "leave it out for a .pt2 file"
            )
    given: str | None = arguments.model
    if given is not None and given.lower().endswith(".onnx"):
        raise ConfigError(
            "a .pt2 file is built from a PyTorch network, not from ONNX",
            "name an architecture of `beyond-models export --list`, or build a .plan from the ONNX file",
        )
    request = ArchRequest(
        find(given) if given else None,
        arguments.output,
        weights=arguments.weights or "auto",
        seed=arguments.seed or 0,
        image_size=arguments.size,
        checkpoint=arguments.checkpoint,
        overwrite=arguments.overwrite,
        precision=arguments.precision or DEFAULT_PRECISION,
        max_batch=arguments.max_batch,
        device=arguments.device or _best_device(),
        compiled=not arguments.no_compile,
    )
    card = build_arch(
        request, say=lambda step: console.print(step, style="dim", markup=False, soft_wrap=True)
    )
    _report(card, arguments.output, console)


def _best_device() -> str:
    from beyond_serve.engines.cuda.probe import cuda_devices

    return "cuda" if cuda_devices() else "cpu"


def _report(card: Pt2Card, output: Path, console: Console) -> None:
    if card.warning is not None:
        console.print(
            f"WARNING: {card.warning} ({card.origin})", style="bold red", markup=False, soft_wrap=True
        )
    kind = f"compiled for {card.device}" if card.compiled else "exported"
    console.print(
        f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB), {output.with_suffix('.toml').name} and "
        f"{output.with_suffix('.model.json').name}: {kind} in {card.precision}, batches of up to "
        f"{card.max_batch}, {card.macs / 1e9:.3f} GMACs an image; its logits are at most "
        f"{card.relative_error:.1e} of their length off the network's in float32 ({card.eager_error:.1e} "
        "uncompiled)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"serve it: beyond-serve --model {output}", markup=False, highlight=False, soft_wrap=True)

"""`beyond-models build`: a model for one kind of device, as TensorRT's plan or for PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from beyond_serve.engines.describe import ModelDescription, describe_model
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import PreprocessPlan
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server import build_pt2_command
from beyond_serve.zoo.sidecar import sidecar_text

PRECISIONS = ("fp32", "fp16", "bf16")
FLAVOURS = ("auto", "tensorrt", "rtx")
ENDINGS = (".plan", ".engine")

_LARGEST_IMAGE = 2048
_PLAN_PRECISION = "fp16"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The subcommand, with `run` set to what runs it."""
    parser = commands.add_parser(
        "build",
        help="make a model for a GPU: a TensorRT plan from an ONNX file, or a .pt2 for PyTorch",
        description="Make FILE.plan for TensorRT from an ONNX model, or FILE.pt2 for PyTorch from a known "
        "architecture (needs the extra: beyond-serve[export]), with normalisation and layout inside, "
        "so that the GPU gets images as bytes. What the server reads beside the model (preprocessing, "
        "labels) is written to FILE.toml where the new file would not find it.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="an .onnx file for a plan; for a .pt2 an architecture of `beyond-models export --list`, "
        "timm:MODEL or hf:OWNER/NAME",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .plan or .pt2"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help=f"default: {_PLAN_PRECISION} for a plan, {build_pt2_command.DEFAULT_PRECISION} for a .pt2",
    )
    parser.add_argument("--max-batch", type=int, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="of square images, if the model's is free")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    _add_plan_arguments(parser.add_argument_group("for a .plan file"))
    build_pt2_command.add_arguments(parser)
    parser.set_defaults(run=run)


def _add_plan_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--opt-batch", type=int, metavar="N", help="the batch to be fastest at; default: the largest"
    )
    group.add_argument(
        "--flavour", choices=FLAVOURS, default="auto", help="of TensorRT; default: the first installed"
    )
    group.add_argument(
        "--compute-capability",
        default="",
        metavar="N.N,…",
        help="for TensorRT-RTX: 8.9,12.0 for these GPUs, or current; default: all that it knows",
    )


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Raises ConfigError, ModelLoadError, OSError."""
    output: Path = arguments.output
    if output.suffix.lower() not in (*ENDINGS, ".pt2"):
        raise ConfigError(
            f"'{output}' does not end in {', '.join(ENDINGS)} or .pt2",
            "the server knows models by their ending",
        )
    if arguments.size is not None and not 8 <= arguments.size <= _LARGEST_IMAGE:
        raise ConfigError(f"--size {arguments.size}: must lie between 8 and {_LARGEST_IMAGE}")
    if output.suffix.lower() == ".pt2":
        build_pt2_command.run(arguments, console)
    else:
        _run_plan(arguments, output, console)


def _run_plan(arguments: argparse.Namespace, output: Path, console: Console) -> None:
    build_pt2_command.check_absent(arguments)
    if arguments.model is None:
        raise ConfigError("no ONNX model is named", "beyond-models build MODEL.onnx -o NAME.plan")
    description = describe_model(arguments.model)
    if description.format != "onnx":
        raise ConfigError(f"'{arguments.model}' is no ONNX model", "plans are built from .onnx files")
    preprocessing, found_in = load_plan(Path(description.source), _size(description, arguments.size))
    sidecar = _sidecar(description, preprocessing, output)
    _check_files(output, sidecar, overwrite=arguments.overwrite)
    console.print(
        f"preprocessing: {preprocessing.describe()}, from {found_in}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    _build(arguments, description, preprocessing, console)
    if sidecar is not None:
        _sidecar_path(output).write_text(sidecar, encoding="utf-8")
    console.print(f"serve it: beyond-serve --model {output}", markup=False, highlight=False, soft_wrap=True)


def _size(description: ModelDescription, asked: int | None) -> tuple[int, int] | None:
    """(H, W) of the images; None where the preprocessing is to say."""
    own = description.image_size
    if own is not None and asked is not None and own != (asked, asked):
        raise ConfigError(
            f"--size {asked}: the model takes {own[1]}x{own[0]} and nothing else", "leave --size out"
        )
    return own or ((asked, asked) if asked is not None else None)


def _sidecar(description: ModelDescription, preprocessing: PreprocessPlan, output: Path) -> str | None:
    """Text of a file that tells the new model what the old one had; None if it finds it anyway."""
    source = Path(description.source)
    labels = load_labels(source)
    size = preprocessing.output_shape[:2]
    try:
        if load_plan(output, size)[0] == preprocessing and load_labels(output) == labels:
            return None
    except ConfigError:
        pass  # files of another model lie there, among which this one's goes first
    return sidecar_text(preprocessing, labels, f"for {output.name}, built from {source.name}")


def _sidecar_path(output: Path) -> Path:
    return output.with_suffix(".toml")


def _check_files(output: Path, sidecar: str | None, *, overwrite: bool) -> None:
    """Before minutes are spent on what cannot be kept."""
    wanted = [output] if sidecar is None else [output, _sidecar_path(output)]
    there = [path for path in wanted if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists already", "--overwrite replaces it, or choose another -o")
    if not output.parent.is_dir():
        raise ConfigError(f"the folder '{output.parent}' does not exist", "make it, or choose another -o")


def _build(
    arguments: argparse.Namespace,
    description: ModelDescription,
    preprocessing: PreprocessPlan,
    console: Console,
) -> None:
    from beyond_serve.engines.tensorrt.build import PlanRequest, build_plan

    request = PlanRequest(
        output=arguments.output,
        precision=arguments.precision or _PLAN_PRECISION,
        max_batch=arguments.max_batch,
        opt_batch=arguments.opt_batch,
        flavour=arguments.flavour,
        compute_capabilities=tuple(filter(None, arguments.compute_capability.split(","))),
        image_size=preprocessing.output_shape[:2],
        normalization=preprocessing.normalization,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=1)

        def on_step(phase: str, done: int, steps: int) -> None:
            progress.update(task, description=phase, completed=done, total=max(1, steps))

        built = build_plan(description, request, on_step)
    for warning in built.warnings:
        console.print(f"WARNING: {warning}", style="bold red", markup=False, soft_wrap=True)
    least, most = built.batches
    console.print(
        f"wrote {request.output} ({built.nbytes / 1e6:.1f} MB) with {built.builder}: {built.precision}, "
        f"batches of {least if least == most else f'{least} to {most}'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )

"""`beyond-models`: make the demo model, export known ones, describe any as the server would read it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from beyond_serve.demo.build import DemoConfig, DemoReport, build, image_count
from beyond_serve.demo.build import Progress as BuildProgress
from beyond_serve.demo.dataset import Digits, load_digits, split
from beyond_serve.demo.examples import NAMES, write_examples
from beyond_serve.demo.location import DEMO_MODEL
from beyond_serve.demo.train import Epoch
from beyond_serve.errors import BeyondError
from beyond_serve.server import build_command, export_command
from beyond_serve.server.batch_costs.describe import describe_costs
from beyond_serve.server.model_description import description_table


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 if it could not be done, 2 for wrong usage, 130 for Ctrl-C."""
    arguments = _parser().parse_args(argv)
    console = Console()
    try:
        arguments.run(arguments, console)
    except BeyondError as error:
        _complain(error.message, error.hint)
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror}", None)
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="beyond-models", description="Make and describe models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="train the demo model, or write its example images")
    demo.add_argument("--output", type=Path, default=DEMO_MODEL, metavar="FILE", help="default: %(default)s")
    demo.add_argument(
        "--examples", type=Path, metavar="DIR", help="write the example images there; no training"
    )
    demo.add_argument("--seed", type=int, default=DemoConfig().seed, help="default: %(default)s")
    demo.set_defaults(run=_demo)
    export_command.add_parser(commands)
    build_command.add_parser(commands)
    describe = commands.add_parser("describe", help="say how a model's file is read, without serving it")
    describe.add_argument("model", metavar="PATH", help="model file, or the word demo")
    describe.set_defaults(run=_describe)
    return parser


def _demo(arguments: argparse.Namespace, console: Console) -> None:
    digits = load_digits()
    if arguments.examples is not None:
        _, held_out = split(digits.labels, arguments.seed)
        paths = write_examples(digits, held_out, arguments.seed, arguments.examples)
        console.print(f"wrote {len(paths)} images of digits held out from training to {arguments.examples}/")
        return
    started = time.monotonic()
    report = _build(digits, arguments.output, DemoConfig(seed=arguments.seed), console)
    seconds = time.monotonic() - started
    _print_report(report, console)
    console.print(
        f"wrote {arguments.output} ({report.model_bytes / 1000:.0f} kB) in {seconds:.0f} s; "
        f"its logits in ONNX Runtime differ from the network's by at most {report.largest_difference:.1e}",
        soft_wrap=True,
        markup=False,
    )


def _build(digits: Digits, output: Path, config: DemoConfig, console: Console) -> DemoReport:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        drawing = progress.add_task("drawing and preprocessing", total=image_count(digits, config))
        training = progress.add_task("training", total=config.training.epochs, start=False)
        return build(digits, output, config, _reporting(progress, drawing, training))


def _reporting(progress: Progress, drawing: TaskID, training: TaskID) -> BuildProgress:
    def on_epoch(epoch: Epoch) -> None:
        progress.update(training, advance=1, description=f"training (loss {epoch.loss:.3f})")

    return BuildProgress(
        on_image=lambda: progress.advance(drawing),
        on_training=lambda: progress.start_task(training),
        on_epoch=on_epoch,
    )


def _print_report(report: DemoReport, console: Console) -> None:
    table = Table("digit", title="Held-out digits, as JPEGs", title_justify="left")
    for column in ("images", "right", "accuracy"):
        table.add_column(column, justify="right")
    for name, (right, count) in zip(NAMES, report.correct.tolist(), strict=True):
        table.add_row(name, str(count), str(right), f"{right / max(count, 1):.1%}")
    right, count = report.correct.sum(axis=0).tolist()
    table.add_section()
    table.add_row("all", str(count), str(right), f"{report.accuracy:.2%}")
    console.print(table)
    console.print(f"on the {report.training_images} images trained on: {report.training_accuracy:.2%}")


def _describe(arguments: argparse.Namespace, console: Console) -> None:
    console.print(description_table(arguments.model))
    for part in describe_costs(arguments.model):
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))


def _complain(message: str, hint: str | None) -> None:
    sys.stderr.write(f"beyond-models: {message}\n" + (f"  {hint}\n" if hint else ""))


if __name__ == "__main__":
    sys.exit(main())

"""`beyond-bench`: experiments that measure the server, each one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from beyond_serve.bench import (
    dag,
    decoders,
    formats,
    frontend,
    overlap,
    parity,
    soak,
    tracecost,
    whole,
    zeroload,
)
from beyond_serve.bench.report import Result
from beyond_serve.errors import BeyondError


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits 0 when every asked figure was met, 1 when not, 2 when it could not run."""
    parser = _parser()
    given = parser.parse_args(arguments)
    console = Console()
    try:
        with Progress(console=console, transient=True) as progress:
            result = _run(given, progress)
    except BeyondError as error:
        console.print(f"beyond-bench: {error.message}{'; ' + error.hint if error.hint else ''}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("interrupted")
        sys.exit(130)
    result.show(console)
    if given.out:
        console.print(f"  written to {result.save(Path(given.out))}", style="dim")
    sys.exit(0 if all(verdict.met for verdict in result.verdicts) else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("beyond-bench", description=__doc__)
    commands = parser.add_subparsers(dest="experiment", required=True)

    def add(name: str, text: str, **defaults: float) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--out", metavar="FOLDER", help="write the result as JSON into this folder")
        for option, default in defaults.items():
            command.add_argument(f"--{option}", type=type(default), default=default)
        return command

    add("frontend", "HTTP and gRPC beside bare aiohttp and grpc.aio", rounds=5, seconds=3.0, connections=64)
    decoding = add("decoders", "JPEG bytes to model input on one thread, beside other libraries", rounds=20)
    decoding.add_argument(
        "--formats", action="store_true", help="which formats can be decoded in part, and how"
    )
    add("tracecost", "throughput with and without recording traces", rounds=7, seconds=3.0, connections=64)
    add(
        "whole",
        "the whole server with an emulated accelerator, beside mosec",
        rounds=3,
        seconds=5.0,
        connections=64,
    )
    add("parity", "pixels and top-1 beside Pillow's", views=3)
    add("dag", "a preprocessing graph as written beside its optimised plan", rounds=15, chains=60)
    with_model = [add("zeroload", "where one request's time goes", requests=200)]
    with_model.append(add("soak", "does memory stay flat", requests=100_000))
    for command in with_model:
        command.add_argument("--model", default="demo")
    for command in (add("overlap", "end to end beside its parts", rounds=3, seconds=5.0), with_model[0]):
        command.add_argument("--fidelity", choices=("exact", "fast"), default="exact")
    return parser


def _run(given: argparse.Namespace, progress: Progress) -> Result:
    match given.experiment:
        case "frontend":
            result = frontend.run(given.rounds, given.seconds, given.connections, progress)
        case "decoders":
            result = formats.formats_table() if given.formats else decoders.run(given.rounds, progress)
        case "parity":
            result = parity.run(given.views, progress)
        case "dag":
            result = dag.run(given.rounds, given.chains, progress)
        case "tracecost":
            result = tracecost.run(given.rounds, given.seconds, given.connections, progress)
        case "whole":
            result = whole.run(given.rounds, given.seconds, given.connections, progress)
        case "zeroload":
            result = zeroload.run(given.model, given.requests, given.fidelity, progress)
        case "soak":
            result = soak.run(given.model, given.requests, progress)
        case _:
            result = overlap.run(given.rounds, given.seconds, given.fidelity, progress)
    return result


if __name__ == "__main__":
    main()

"""The checks: measurements with an asked figure each, written as one JSON file with `--out FOLDER`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from beyond_serve.bench import (
    dag,
    decoders,
    formats,
    frontend,
    loadcheck,
    overlap,
    parity,
    soak,
    tracecost,
    whole,
)
from beyond_serve.bench.report import Result


@dataclass(frozen=True, slots=True)
class Check:
    """One command; `defaults` become its flags."""

    help: str
    run: Callable[[argparse.Namespace, Progress], Result]
    defaults: tuple[tuple[str, float], ...] = ()
    model: bool = False
    fidelity: bool = False


def _decoders(given: argparse.Namespace, progress: Progress) -> Result:
    return formats.formats_table() if given.formats else decoders.run(given.rounds, progress)


CHECKS: dict[str, Check] = {
    "frontend": Check(
        "HTTP and gRPC beside bare aiohttp and grpc.aio",
        lambda given, progress: frontend.run(given.rounds, given.seconds, given.connections, progress),
        (("rounds", 5), ("seconds", 3.0), ("connections", 64)),
    ),
    "decoders": Check(
        "JPEG bytes to model input on one thread, beside other libraries", _decoders, (("rounds", 20),)
    ),
    "loadcheck": Check(
        "can the load generator be believed: ceiling, lateness, beside wrk, a stopped server",
        lambda given, progress: loadcheck.run(given.rounds, given.seconds, progress),
        (("rounds", 5), ("seconds", 3.0)),
    ),
    "tracecost": Check(
        "throughput with and without recording traces",
        lambda given, progress: tracecost.run(given.rounds, given.seconds, given.connections, progress),
        (("rounds", 7), ("seconds", 3.0), ("connections", 64)),
    ),
    "whole": Check(
        "the whole server with an emulated accelerator, beside mosec",
        lambda given, progress: whole.run(given.rounds, given.seconds, given.connections, progress),
        (("rounds", 3), ("seconds", 5.0), ("connections", 64)),
    ),
    "parity": Check(
        "pixels and top-1 beside Pillow's",
        lambda given, progress: parity.run(given.views, progress),
        (("views", 3),),
    ),
    "dag": Check(
        "a preprocessing graph as written beside its optimised plan",
        lambda given, progress: dag.run(given.rounds, given.chains, progress),
        (("rounds", 15), ("chains", 60)),
    ),
    "soak": Check(
        "does memory stay flat",
        lambda given, progress: soak.run(given.model, given.requests, progress),
        (("requests", 100_000),),
        model=True,
    ),
    "overlap": Check(
        "end to end beside its parts",
        lambda given, progress: overlap.run(given.rounds, given.seconds, given.fidelity, progress),
        (("rounds", 3), ("seconds", 5.0)),
        fidelity=True,
    ),
}


def checks_beside(experiments: Container[str]) -> dict[str, Check]:
    """The checks whose name no experiment has taken over."""
    return {name: check for name, check in CHECKS.items() if name not in experiments}


def add_check_arguments(name: str, check: Check, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FOLDER", help="write the result as JSON into this folder")
    for option, default in check.defaults:
        parser.add_argument(f"--{option}", type=type(default), default=default)
    if check.model:
        parser.add_argument("--model", default="demo")
    if check.fidelity:
        parser.add_argument("--fidelity", choices=("exact", "fast"), default="exact")
    if name == "decoders":
        parser.add_argument(
            "--formats", action="store_true", help="which formats can be decoded in part, and how"
        )


def run_check(check: Check, given: argparse.Namespace, console: Console) -> int:
    """Measure and print; 0 when every asked figure was met, 1 when not."""
    with Progress(console=console, transient=True) as progress:
        result = check.run(given, progress)
    result.show(console)
    if given.out:
        console.print(f"  written to {result.save(Path(given.out))}", style="dim")
    return 0 if all(verdict.met for verdict in result.verdicts) else 1

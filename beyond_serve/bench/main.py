"""`beyond-bench`: load, experiments and checks that measure the server, each one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from beyond_serve.bench.checks import add_check_arguments, checks_beside, run_check
from beyond_serve.bench.experiments import EXPERIMENTS
from beyond_serve.bench.experiments.frame import (
    COULD_NOT,
    INTERRUPTED,
    add_common_arguments,
    report,
    run_experiment,
)
from beyond_serve.bench.experiments.terminal import open_console, show_comparison
from beyond_serve.bench.runs.compare import DEFAULT_FIELDS, compare
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.termination import terminated_as_interrupted
from beyond_serve.errors import BeyondError

_REPORT = "draw a run's plots and report again from its folder"
_COMPARE = "did it get faster: two runs of one experiment, with confidence intervals"
_EXITS = """exit codes:
  0  complete; 1  an asked figure was not met, or slower; 2  could not run;
  130  interrupted, by Ctrl-C or SIGTERM"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits with one of the codes of `beyond-bench --help`."""
    given = _parser().parse_args(arguments)
    console = open_console()
    try:
        with terminated_as_interrupted():
            code = _run(given, console)
    except BeyondError as error:
        said = f"beyond-bench: {error.message}{'; ' + error.hint if error.hint else ''}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        code = COULD_NOT
    except KeyboardInterrupt:
        console.print("interrupted")
        code = INTERRUPTED
    sys.exit(code)


def _run(given: argparse.Namespace, console: Console) -> int:
    experiments = {experiment.name: experiment for experiment in EXPERIMENTS}
    match given.experiment:
        case "report":
            return report(EXPERIMENTS, Path(given.run), console)
        case "compare-runs":
            before, after = (
                [RunFolder.open(path) for path in side.split(",")] for side in (given.a, given.b)
            )
            found = compare(before, after, given.field or DEFAULT_FIELDS, given.anyway)
            show_comparison(console, found)
            return found.exit_code
        case name if name in experiments:
            return run_experiment(experiments[name], given, console)
        case name:
            return run_check(checks_beside(experiments)[name], given, console)


def _parser() -> argparse.ArgumentParser:
    checks = checks_beside({experiment.name for experiment in EXPERIMENTS})
    helps: dict[str, Mapping[str, str]] = {
        "experiments (keep a run folder with plots and a report)": {
            experiment.name: experiment.help for experiment in EXPERIMENTS
        },
        "checks (against an asked figure)": {name: check.help for name, check in checks.items()},
        "runs": {"report": _REPORT, "compare-runs": _COMPARE},
    }
    parser = argparse.ArgumentParser(
        "beyond-bench",
        description=__doc__,
        epilog=f"{_grouped(helps)}\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Without a help of its own no command is listed by argparse, which knows no groups of them.
    commands = parser.add_subparsers(dest="experiment", required=True, metavar="NAME")
    for experiment in EXPERIMENTS:
        command = commands.add_parser(experiment.name, description=experiment.help)
        add_common_arguments(command)
        experiment.add_arguments(command)
    for name, check in checks.items():
        add_check_arguments(name, check, commands.add_parser(name, description=check.help))
    commands.add_parser("report", description=_REPORT).add_argument("run", metavar="RUN", help="its folder")
    _add_compare_arguments(commands.add_parser("compare-runs", description=_COMPARE))
    return parser


def _add_compare_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("a", metavar="A", help="folder of the run before; several of them, comma-separated")
    command.add_argument("b", metavar="B", help="of the run after")
    command.add_argument(
        "--field",
        action="append",
        metavar="PATH",
        help="a number of the points, such as load.stages_ms.mean.infer; repeatable",
    )
    command.add_argument(
        "--anyway", action="store_true", help="compare although machine or configuration differ"
    )


def _grouped(helps: Mapping[str, Mapping[str, str]]) -> str:
    width = max(len(name) for group in helps.values() for name in group)
    lines = []
    for title, group in helps.items():
        if group:
            lines += [f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in group.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

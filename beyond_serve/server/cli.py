"""The command line of beyond-serve, made from the option table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import beyond_serve
from beyond_serve.server.options import OPTIONS, Option

DESCRIPTION = "Serve image models over HTTP and gRPC, with dynamic batching and a trace of every request."
EPILOG = """\
PATH is model.onnx, model.xml (OpenVINO), model.plan or model.engine (TensorRT), model.pt2 (PyTorch), the word
demo, null:, null:224 or sim:table.json.
All options can stand in the TOML file under the same names; flags win over the file."""


class CommandLine(NamedTuple):
    models: list[str]
    config: str | None
    options: dict[str, Any]


def parse_command_line(arguments: Sequence[str] | None = None) -> CommandLine:
    """Read the flags; exits with a usage message on a wrong one."""
    parser = argparse.ArgumentParser(
        "beyond-serve",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"beyond-serve {beyond_serve.__version__}")
    parser.add_argument(
        "--model", action="append", default=[], metavar="[NAME=]PATH", help="a model to serve; repeatable"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a TOML file with the same keys and [models.NAME] tables"
    )
    for scope, title in (("model", "for every model"), ("server", "for the server")):
        group = parser.add_argument_group(title)
        for option in OPTIONS:
            if option.scope == scope:
                _add(group, option)
    given = vars(parser.parse_args(arguments))
    options = {o.name: given[o.field] for o in OPTIONS if given[o.field] is not None}
    return CommandLine(given["model"], given["config"], options)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    flag = f"--{option.name}"
    # None tells "not given" from "given as the default", which a file must not override.
    if option.kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=option.help)
        return
    shown = f" (default: {option.default})" if option.default not in ("", 0.0) else ""
    group.add_argument(
        flag,
        type=option.kind,
        choices=option.choices or None,
        metavar=option.metavar or (None if option.choices else option.kind.__name__.upper()),
        help=option.help.replace("%", "%%") + shown,
    )

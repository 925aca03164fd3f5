"""`beyond-serve`: serve models until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from beyond_serve.errors import BeyondError
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.config import ServerConfig, build_config
from beyond_serve.server.memory import keep_freed_memory


def main() -> None:
    """Entry point. Exits 0 after a clean stop, 1 if something accepted was lost, 2 if it cannot start."""
    # gRPC's core would print its own lines beside ours, for what is reported as an error anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    command = parse_command_line()
    try:
        config = build_config(command.models, command.options, command.config)
        logging.basicConfig(
            level=config.log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        status = _run(config)
    except BeyondError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"beyond-serve: {error.message}{hint}", file=sys.stderr)  # noqa: T201 - the command's own voice
        status = 2
    sys.exit(status)


def _run(config: ServerConfig) -> int:
    from beyond_serve.server.service import serve

    keep_freed_memory()
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(serve(config, _say))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's own voice


if __name__ == "__main__":
    main()

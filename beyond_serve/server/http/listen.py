"""Listening sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from beyond_serve.errors import ConfigError

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted; it caps this by net.core.somaxconn."""


async def open_listeners(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[socket.socket]:
    """One listening socket for each address of `host` ("" for all of them); a port of 0 takes any free one.

    Raises:
        ConfigError: the host is unknown, or its port taken or forbidden.
    """
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise ConfigError(f"unknown host '{host}': {reason}", "check --http HOST:PORT") from error
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listener = _open(
                family, (*address[:1], sockets[0].getsockname()[1] if sockets else port, *address[2:])
            )
            if listener is not None:
                sockets.append(listener)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ConfigError(f"cannot listen on {host or '*'}:{port}: {_reason(error)}", _hint(error)) from error
    return sockets


def _open(family: int, address: tuple[object, ...]) -> socket.socket | None:
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None  # a kernel without IPv6 still resolves names to it
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop the program that listens there, or choose another port with --http HOST:PORT"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need privileges; choose a higher one with --http HOST:PORT"
    return "choose an address of this machine with --http HOST:PORT"

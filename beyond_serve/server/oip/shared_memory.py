"""System shared memory regions that clients registered.

Source: triton-inference-server/server, docs/protocol/extension_shared_memory.md.

A region is read and written with pread and pwrite on a file descriptor and is never mapped: a client
that truncates its file under a mapping would end the server by SIGBUS, here it gets an error.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.oip import RegionSlice

SHM_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies on Linux

# Each holds a file descriptor. An invented number, far above what a client needs.
MAX_REGIONS = 1024


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a shared memory object. Attributes as in the extension; sizes in bytes."""

    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int


class RegionTable:
    """The registered regions by name. Owns their file descriptors, on the event loop.

    Args:
        allowed: clients may register; off unless the server was started with --allow-client-shm.
    """

    def __init__(self, allowed: bool = False, directory: Path = SHM_DIRECTORY) -> None:
        self.allowed = allowed
        self._directory = directory
        self._regions: dict[str, Region] = {}

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Make `byte_size` bytes from `offset` of the object `key` (as for shm_open) known as `name`.

        Raises:
            InvalidRequestError: not allowed, taken, or no such part of such an object.
        """
        self._check_allowed()
        if not name or name in self._regions:
            raise InvalidRequestError(
                f"there is a shared memory region '{name}' already" if name else "the region has no name",
                "unregister it first, or choose another name",
            )
        if len(self._regions) >= MAX_REGIONS:
            raise InvalidRequestError(
                f"{MAX_REGIONS} shared memory regions are registered", "unregister some first"
            )
        if offset < 0 or byte_size < 1:
            raise InvalidRequestError(
                f"region '{name}' has offset {offset} and byte_size {byte_size}",
                "give 0 or more, and 1 or more",
            )
        descriptor = self._open(name, key)
        region = Region(name, key, offset, byte_size, descriptor)
        try:
            _check_size(region)
        except InvalidRequestError:
            os.close(descriptor)
            raise
        self._regions[name] = region

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all of them if no name is given; an unknown one is no error."""
        names = [name] if name else list(self._regions)
        for known in names:
            region = self._regions.pop(known, None)
            if region is not None:
                os.close(region.descriptor)

    def status(self, name: str = "") -> list[Region]:
        """One region, or all of them if no name is given.

        Raises:
            InvalidRequestError: no such region.
        """
        return [self._region(name)] if name else list(self._regions.values())

    def read(self, part: RegionSlice) -> bytes:
        """A copy of a tensor's bytes: the client may write on as soon as it has its answer.

        Raises:
            InvalidRequestError: no such region, or beyond its bounds.
        """
        region = self._part(part)
        data = os.pread(region.descriptor, part.byte_size, region.offset + part.offset)
        if len(data) != part.byte_size:
            raise _shrunk(region)
        return data

    def write(self, part: RegionSlice, data: bytes | memoryview) -> None:
        """Put `data`, at most `part.byte_size` long, where `part` starts.

        Raises:
            InvalidRequestError: no such region, or beyond its bounds.
        """
        region = self._part(part)
        # pwrite beyond the end would make the client's object grow.
        _check_size(region)
        if os.pwrite(region.descriptor, data, region.offset + part.offset) != len(data):
            raise _shrunk(region)

    def check(self, part: RegionSlice) -> None:
        """Raise what `read` or `write` would, before anything is computed.

        Raises:
            InvalidRequestError: no such region, or beyond its bounds.
        """
        self._part(part)

    def close(self) -> None:
        self.unregister()

    def _part(self, part: RegionSlice) -> Region:
        region = self._region(part.region)
        if part.offset < 0 or part.byte_size < 0 or part.offset + part.byte_size > region.byte_size:
            raise InvalidRequestError(
                f"{part.byte_size} bytes at offset {part.offset} lie outside region '{region.name}' "
                f"of {region.byte_size} bytes",
                "keep offset + byte_size within the region",
            )
        return region

    def _region(self, name: str) -> Region:
        region = self._regions.get(name)
        if region is None:
            self._check_allowed()
            raise InvalidRequestError(f"there is no shared memory region '{name}'", "register it first")
        return region

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise InvalidRequestError(
                "clients' shared memory is not allowed", "start the server with --allow-client-shm"
            )

    def _open(self, name: str, key: str) -> int:
        leaf = key.removeprefix("/")
        if not leaf or "/" in leaf or "\0" in leaf or leaf in (".", ".."):
            raise InvalidRequestError(
                f"region '{name}' has the key '{key}'",
                "give the name that shm_open was given, like /my_region",
            )
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self._directory / leaf, flags)
        except (OSError, UnicodeEncodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no valid name"
            raise InvalidRequestError(
                f"cannot open shared memory '{key}' for region '{name}': {why}",
                "create it on the server's machine, readable and writable by the server",
            ) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidRequestError(f"'{key}' is no shared memory", "create it with shm_open")
        return descriptor


def _check_size(region: Region) -> None:
    if region.offset + region.byte_size > os.fstat(region.descriptor).st_size:
        raise _shrunk(region)


def _shrunk(region: Region) -> InvalidRequestError:
    return InvalidRequestError(
        f"shared memory '{region.key}' is smaller than region '{region.name}' "
        f"({region.byte_size} bytes at offset {region.offset})",
        "create it large enough and leave its size",
    )

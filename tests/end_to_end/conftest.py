"""One server for all tests that do not stop it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.serving import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving("--model", "demo", "--max-body-mb", "4", "--allow-client-shm") as running:
        yield running

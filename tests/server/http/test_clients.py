"""Real clients: curl and aiohttp."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.server.http.serving import Serving, serving
from tests.server.http.test_tls import make_pair, server_context, trusting


async def curl(*arguments: str, stdin: bytes | None = None) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "curl",
        "-sS",
        "--max-time",
        "5",
        *arguments,
        stdin=-1 if stdin is not None else None,
        stdout=-1,
        stderr=-1,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode()
    return out


def url(running: Serving, path: str = "/predict") -> str:
    return f"http://127.0.0.1:{running.server.port}{path}"


async def test_curl_uploads_a_file_with_expect_100(tmp_path: Path) -> None:
    image = tmp_path / "image.jpg"
    image.write_bytes(bytes(range(256)) * 300)
    async with serving() as running:
        out = await curl("-T", str(image), "-H", "Expect: 100-continue", url(running))
        assert out == image.read_bytes()
        assert [(e.method, e.headers["expect"]) for e in running.seen] == [("PUT", "100-continue")]


async def test_curl_sends_chunks_from_its_input() -> None:
    async with serving() as running:
        assert await curl("-T", "-", url(running), stdin=b"from a pipe") == b"from a pipe"
        assert running.seen[0].headers["transfer-encoding"] == "chunked"


async def test_curl_asks_for_head_http_1_0_and_an_upgrade() -> None:
    async with serving() as running:
        assert b"content-length: 0" in (await curl("-I", url(running)))
        assert await curl("-0", "-d", "old", url(running)) == b"old"
        assert await curl("--http2", "-d", "newer", url(running)) == b"newer"
        assert "http2-settings" in running.seen[-1].headers


async def test_curl_uses_a_connection_again_and_hears_of_a_body_too_large(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)
    async with serving() as running:
        report = "%{http_code} %{num_connects}\n"
        out = await curl(
            "-w", report, "-d", "", url(running), "--next", "-sS", "-w", report, "-d", "", url(running)
        )
        assert out == b"200 1\n200 0\n"
        out = await curl("-T", str(large), "-w", "%{http_code}", "-o", "/dev/null", url(running))
        assert out == b"413"


async def test_curl_over_tls(tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path)
    async with serving(tls=server_context(cert, key)) as running:
        address = f"https://localhost:{running.server.port}/predict"
        assert await curl("--cacert", cert, "-4", "-d", "secret", address) == b"secret"


async def test_aiohttp_posts_concurrently_streams_and_reads_errors(tmp_path: Path) -> None:
    async def pieces() -> object:
        for number in range(5):
            yield b"%d" % number

    async with serving() as running, aiohttp.ClientSession() as session:

        async def ask(data: bytes) -> bytes:
            async with session.post(url(running), data=data) as reply:
                return await reply.read()

        bodies = [b"%d" % number * 1000 for number in range(50)]
        assert await asyncio.gather(*map(ask, bodies)) == bodies
        async with session.post(url(running), data=pieces()) as reply:
            assert await reply.read() == b"01234"
        async with session.post(url(running), data=b"x" * 200_000) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (413, "payload_too_large")
        async with session.head(url(running)) as reply:
            assert reply.status == 200


async def test_aiohttp_over_tls(tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path)
    async with serving(tls=server_context(cert, key)) as running, aiohttp.ClientSession() as session:
        address = f"https://localhost:{running.server.port}/"
        async with session.post(address, data=b"secret", ssl=trusting(cert)) as reply:
            assert await reply.read() == b"secret"

"""Both pools behind one door: every image ends once, by the way that can do it."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from beyond_serve.bench.images import MEDIUM, SMALL, paper_image
from beyond_serve.errors import ImageDecodeError
from beyond_serve.preprocess import image_pool, native
from beyond_serve.preprocess.header import read_header
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.image_pool import ImagePool, Job, Stamps
from beyond_serve.preprocess.plan import PreprocessPlan

PLAN = PreprocessPlan()


def encoded(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((300, 280), 60).convert(mode).save(buffer, kind)
    return buffer.getvalue()


IMAGES = {
    "small": paper_image(SMALL),
    "medium": paper_image(MEDIUM),
    "png": encoded("PNG"),
    "webp": encoded("WEBP"),
    "cmyk": encoded("JPEG", "CMYK"),
    "grey": encoded("JPEG", "L"),
}


@pytest.fixture(params=["native", "library"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "library":
        monkeypatch.setattr(image_pool.native, "available", lambda: False)
    elif not native.available():
        pytest.skip("the native core is not built here")
    return str(request.param)


async def run(pool: ImagePool, data: bytes) -> tuple[Stamps | None, BaseException | None, np.ndarray]:
    out = np.zeros(PLAN.output_shape, np.uint8)
    ended: asyncio.Future[tuple[Stamps | None, BaseException | None]] = (
        asyncio.get_running_loop().create_future()
    )
    pool.submit(
        Job(HostPreprocessor(PLAN), data, read_header(data), out, lambda *result: ended.set_result(result))
    )
    stamps, error = await asyncio.wait_for(ended, 20)
    return stamps, error, out


@pytest.mark.parametrize("name", IMAGES)
async def test_every_image_equals_the_preprocessors_own(kind: str, name: str) -> None:
    data = IMAGES[name]
    expected = np.zeros(PLAN.output_shape, np.uint8)
    HostPreprocessor(PLAN).run(data, read_header(data), expected)
    pool = ImagePool(2, asyncio.get_running_loop())
    stamps, error, out = await run(pool, data)
    pool.close()
    assert error is None
    assert stamps is not None
    assert 0 < stamps.started_ns <= stamps.decoded_ns <= stamps.done_ns
    np.testing.assert_array_equal(out, expected)


async def test_a_broken_image_fails_alone(kind: str) -> None:
    pool = ImagePool(2, asyncio.get_running_loop())
    broken = IMAGES["medium"][: len(IMAGES["medium"]) // 2]
    results = await asyncio.gather(*(run(pool, data) for data in (IMAGES["medium"], broken, IMAGES["png"])))
    pool.close()
    assert [type(error) for _, error, _ in results] == [type(None), ImageDecodeError, type(None)]


async def test_more_images_than_the_pool_holds_all_end(kind: str) -> None:
    pool = ImagePool(2, asyncio.get_running_loop(), capacity=4)
    results = await asyncio.gather(*(run(pool, IMAGES["small"]) for _ in range(64)))
    pool.close()
    assert all(error is None for _, error, _ in results)


async def test_what_a_pool_was_given_ends_before_it_has_closed(kind: str) -> None:
    loop = asyncio.get_running_loop()
    pool = ImagePool(1, loop)
    ended: list[BaseException | None] = []
    for _ in range(16):
        data, out = IMAGES["medium"], np.zeros(PLAN.output_shape, np.uint8)
        job = Job(HostPreprocessor(PLAN), data, read_header(data), out, lambda _, error: ended.append(error))
        pool.submit(job)
    pool.close()
    await asyncio.sleep(0)
    assert len(ended) == 16

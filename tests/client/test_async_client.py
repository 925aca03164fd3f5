"""Every call over both transports, against fakes that speak the wire."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest

from beyond_serve.client import AsyncClient, ServerUnreachableError
from beyond_serve.errors import (
    BeyondError,
    ImageDecodeError,
    InvalidRequestError,
    ModelNotFoundError,
    QueueFullError,
    UnsupportedImageError,
)
from tests.client.fake_server import STAGES_US, STATISTICS, TOTAL_US, FakeModel


async def test_predict_ranks_classes(client: AsyncClient) -> None:
    prediction = await client.predict(b"\x01 image")

    assert prediction.model == "demo"
    assert [(c.label, c.index, c.score) for c in prediction.classes] == [
        ("one:uno", 1, 0.75),
        ("zero", 0, 0.375),
        (None, 2, 0.1875),
    ]
    assert prediction.top.label == "one:uno"
    assert prediction.trace is None


async def test_predict_takes_paths_bytes_and_files(
    client: AsyncClient, model: FakeModel, tmp_path: Path
) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(b"\x02 from a file")

    for image in (path, str(path), io.BytesIO(b"\x02 from a file"), bytearray(b"\x02 from a file")):
        assert (await client.predict(image)).top.index == 2
    assert all(asked["images"] == [b"\x02 from a file"] for asked in model.seen)
    with pytest.raises(FileNotFoundError):
        await client.predict(tmp_path / "absent.jpg")


async def test_predict_passes_its_options(client: AsyncClient, model: FakeModel, kind: str) -> None:
    prediction = await client.predict(b"\x00", "demo", top_k=2, timeout_ms=1.5, priority=3)

    asked = model.seen[0]
    assert len(prediction.classes) == 2
    assert asked["model"] == "demo"
    if kind == "http":
        assert (asked["timeout_ms"], asked["priority"]) == ("1.5", "3")
    else:
        assert (asked["timeout"], asked["priority"]) == (1500, 3)


@pytest.mark.parametrize("options", [{"top_k": 0}, {"timeout_ms": 0}, {"timeout_ms": -1}, {"priority": -1}])
async def test_options_out_of_range_are_not_sent(
    client: AsyncClient, model: FakeModel, options: dict[str, int]
) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(options))):
        await client.predict(b"\x00", **options)
    assert model.seen == []


async def test_trace(client: AsyncClient) -> None:
    trace = (await client.predict(b"\x00", trace=True)).trace

    assert trace is not None
    assert trace.total_us == TOTAL_US
    assert trace.stages_us == STAGES_US
    assert trace.residual_us == pytest.approx(8)
    batch = (trace.batch_size, trace.release, trace.instance, trace.simulated)
    assert batch == (4, "full", "demo-0", False)


async def test_predict_many_is_one_call(client: AsyncClient, model: FakeModel) -> None:
    results = await client.predict_many([b"\x00a", b"\r\n--\x02", b"\x02c"])

    assert [result.top.index for result in results if not isinstance(result, BeyondError)] == [0, 1, 2]
    assert [asked["images"] for asked in model.seen] == [[b"\x00a", b"\r\n--\x02", b"\x02c"]]


async def test_predict_many_of_nothing_calls_nobody(client: AsyncClient, model: FakeModel) -> None:
    assert await client.predict_many([]) == []
    assert model.seen == []


@pytest.mark.parametrize("images", [[b"\x01", b"BAD", b"TXT", b"\x02"], [b"BAD", b"TXT"], [b"BAD"]])
async def test_a_bad_image_fails_alone(client: AsyncClient, images: list[bytes]) -> None:
    results = await client.predict_many(images)

    expected = {b"BAD": ImageDecodeError, b"TXT": UnsupportedImageError}
    for image, result in zip(images, results, strict=True):
        if image in expected:
            assert type(result) is expected[image]
        else:
            assert not isinstance(result, BeyondError)
            assert result.top.index == image[0]


async def test_predict_many_raises_what_is_of_no_image(client: AsyncClient, model: FakeModel) -> None:
    model.refusals = [QueueFullError("the queue is full", retry_after_s=2)]

    with pytest.raises(QueueFullError):
        await client.predict_many([b"\x00", b"\x01"])
    assert len(model.seen) == 1


async def test_infer_carries_every_kind_of_tensor(client: AsyncClient) -> None:
    inputs = {
        "strided": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "half": np.array([[1.5]], np.float16),
        "big_endian": np.array([1, -2], ">i8"),
        "flags": np.array([True, False]),
        "small": np.array([[-1, 2]], np.int8),
        "none": np.empty((0, 3), np.int32),
        "texts": [b"ab", b"", b"c\x00"],
        "grid": np.array([[b"x"], [b"yz"]], dtype=object),
    }

    outputs = await client.infer(inputs)

    assert list(outputs) == list(inputs)
    for name in ("strided", "half", "big_endian", "flags", "small", "none"):
        np.testing.assert_array_equal(outputs[name], inputs[name])
        assert outputs[name].dtype == inputs[name].dtype.newbyteorder("<")
    assert outputs["texts"].tolist() == [b"ba", b"", b"\x00c"]
    assert outputs["grid"].tolist() == [[b"x"], [b"zy"]]


async def test_infer_of_chosen_outputs_with_parameters(client: AsyncClient, model: FakeModel) -> None:
    x = np.zeros(2, np.float64)

    outputs = await client.infer({"a": x, "b": x}, ["b"], "demo", timeout_ms=2, priority=1)

    assert list(outputs) == ["b"]
    assert (model.seen[0]["timeout"], model.seen[0]["priority"]) == (2000, 1)


async def test_a_call_that_names_no_model_needs_there_to_be_one(
    client: AsyncClient, model: FakeModel
) -> None:
    model.loaded["other"] = True

    with pytest.raises(InvalidRequestError, match="several models"):
        await client.infer({"a": np.zeros(1)})
    assert (await client.infer({"a": np.zeros(1)}, model="other"))["a"].shape == (1,)


async def test_metadata(client: AsyncClient) -> None:
    metadata = await client.metadata("demo")

    assert (metadata.name, metadata.versions, metadata.platform) == ("demo", ("1",), "fake")
    assert [(t.name, t.datatype, t.shape) for t in metadata.inputs] == [("image", "BYTES", (-1,))]
    assert [(t.name, t.datatype, t.shape) for t in metadata.outputs] == [("logits", "FP32", (-1, 3))]


async def test_statistics_are_whole_numbers(client: AsyncClient) -> None:
    statistics = await client.statistics("demo")

    assert statistics["last_inference"] == STATISTICS["last_inference"]
    assert statistics["inference_stats"]["success"] == {"count": 7, "ns": 9_000_000_000_000}
    assert statistics["batch_stats"][0]["compute_infer"] == {"count": 3, "ns": 42}


async def test_load_unload_and_readiness(client: AsyncClient) -> None:
    assert await client.live()
    assert await client.ready()
    assert await client.ready("demo")
    assert not await client.ready("absent")

    await client.unload("demo")
    assert not await client.ready()
    assert not await client.ready("demo")
    (status,) = await client.models()
    assert (status.name, status.version, status.state, status.reason) == (
        "demo",
        "1",
        "UNAVAILABLE",
        "unloaded",
    )
    assert not status.ready

    await client.load("demo")
    assert (await client.models())[0].ready
    with pytest.raises(ModelNotFoundError):
        await client.load("absent")


async def test_many_calls_at_once(client: AsyncClient) -> None:
    predictions = await asyncio.gather(*(client.predict(bytes([i])) for i in range(30)))

    assert [prediction.top.index for prediction in predictions] == [i % 3 for i in range(30)]


async def test_large_bodies(client: AsyncClient, model: FakeModel) -> None:
    image = b"\x01" + bytes(3 << 20)

    assert (await client.predict(image)).top.index == 1
    assert model.seen[0]["images"] == [image]


async def test_a_closed_client_says_so(client: AsyncClient) -> None:
    await client.live()
    await client.close()
    await client.close()

    with pytest.raises(RuntimeError, match="closed"):
        await client.live()


def test_a_client_belongs_to_one_loop() -> None:
    client = AsyncClient("http://127.0.0.1:9")

    async def call() -> None:
        with pytest.raises(ServerUnreachableError):
            await client.live()

    async def call_and_close() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await client.live()
        await client.close()

    asyncio.run(call())
    asyncio.run(call_and_close())

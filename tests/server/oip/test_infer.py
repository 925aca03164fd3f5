from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import BeyondError, EngineError, InvalidRequestError
from beyond_serve.server.oip.infer import LONGEST_TIMEOUT_US, Inference, prepare_inference
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.bytes_tensor import encode_bytes
from beyond_serve.wire.oip import InferInput, InferRequest, InferResponse, RegionSlice, RequestedOutput
from tests.server.oip.fakes import PIXELS, FakeModel, engine_info

REGIONS = RegionTable()
ROWS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
Result = InferResponse | BeyondError


def images(*data: bytes, shape: tuple[int, ...] | None = None) -> InferInput:
    return InferInput("image", "BYTES", (len(data),) if shape is None else shape, list(data))


def pixels(rows: Any = ROWS, shape: tuple[int, ...] | None = None, datatype: str = "FP32") -> InferInput:
    return InferInput("pixels", datatype, shape or rows.shape, rows)


def prepare(
    model: FakeModel,
    *inputs: InferInput,
    outputs: tuple[RequestedOutput, ...] = (),
    parameters: dict[str, Any] | None = None,
    regions: RegionTable = REGIONS,
) -> Inference:
    request = InferRequest("m", "", "42", inputs, outputs, parameters or {})
    return prepare_inference(model, request, regions)


def run(model: FakeModel, *inputs: InferInput, **options: Any) -> InferResponse:
    results: list[Result] = []
    inference = prepare(model, *inputs, **options)
    inference.start(started_ns=5, received_ns=7, on_done=results.append)
    if not results:
        model.answer()
    (result,) = results
    assert isinstance(result, InferResponse), result
    return result


def refused(model: FakeModel, *inputs: InferInput, **options: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        prepare(model, *inputs, **options)
    assert model.submitted == []
    return f"{caught.value.message}; {caught.value.hint}"


class TestInputs:
    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_images_go_in_as_they_are(self, shape: tuple[int, ...]) -> None:
        model = FakeModel()
        response = run(model, images(b"a", b"b", shape=shape))
        assert model.submitted[0].rows == [b"a", b"b"]
        assert (response.model, response.version, response.id) == ("m", "1", "42")

    def test_raw_images_are_decoded(self) -> None:
        model = FakeModel()
        run(model, InferInput("image", "BYTES", (2,), memoryview(encode_bytes([b"a", b"bc"]))))
        assert model.submitted[0].rows == [b"a", b"bc"]

    @pytest.mark.parametrize("data", [ROWS, ROWS.reshape(-1), ROWS.tobytes(), memoryview(ROWS.tobytes())])
    def test_a_tensor_goes_in_with_its_shape(self, data: Any) -> None:
        model = FakeModel()
        run(model, pixels(data, shape=ROWS.shape))
        assert model.submitted[0].rows.dtype == np.float32
        np.testing.assert_array_equal(model.submitted[0].rows, ROWS)

    def test_the_times_and_the_scheduling_go_with_it(self) -> None:
        model = FakeModel()
        run(model, images(b"a"), parameters={"timeout": 250, "priority": 2, "custom": "ignored"})
        assert model.submitted[0].options == {
            "started_ns": 5,
            "received_ns": 7,
            "timeout_us": 250,
            "priority": 2,
            "top_k": 0,
        }

    @pytest.mark.parametrize(
        ("parameter", "transport", "expected"), [(0, 0, 0), (9, 0, 9), (0, 9, 9), (5, 9, 5), (9, 5, 5)]
    )
    def test_the_earlier_deadline_holds(self, parameter: int, transport: int, expected: int) -> None:
        model = FakeModel()
        inference = prepare(model, images(b"a"), parameters={"timeout": parameter})
        inference.start(started_ns=0, received_ns=0, on_done=lambda _result: None, timeout_us=transport)
        assert model.submitted[0].options["timeout_us"] == expected

    def test_a_deadline_in_the_far_future_is_cut(self) -> None:
        model = FakeModel()
        run(model, images(b"a"), parameters={"timeout": 2**63 - 1})
        assert model.submitted[0].options["timeout_us"] == LONGEST_TIMEOUT_US

    @pytest.mark.parametrize("name", ["timeout", "priority"])
    @pytest.mark.parametrize("value", [-1, "5", 1.5, True])
    def test_scheduling_takes_whole_numbers(self, name: str, value: object) -> None:
        assert f"parameter '{name}' is" in refused(FakeModel(), images(b"a"), parameters={name: value})

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ((), "no inputs; model 'm' takes one of: image BYTES [-1], pixels FP32 [-1, 3, 2, 2]"),
            ((images(b"a"), images(b"b")), "'image' is given twice"),
            ((images(b"a"), pixels()), "image, pixels are alternatives"),
            ((images(b"a"), InferInput("x", "FP32", (1,), b"")), "no input 'x'"),
            ((InferInput("x", "FP32", (1,), b""),), "no input 'x'; it takes: image BYTES"),
            ((InferInput("image", "UINT8", (1,), b"a"),), "'image' is UINT8, encoded images are BYTES"),
            ((images(shape=(0,)),), "shape [0]"),
            ((images(b"a", shape=()),), "shape []"),
            ((images(b"a", b"b", shape=(1, 2)),), "shape [1, 2]"),
            ((images(b"a", b"b", shape=(1,)),), "does not hold the 1 elements"),
            ((images(b"a", shape=(17,)),), "holds 17 images or rows, the queue of 'm' at most 16"),
            ((InferInput("image", "BYTES", (1,), b"\5\0\0\0abc"),), "ends inside element 1"),
            ((InferInput("image", "BYTES", (1,), b"\1\0\0\0abc"),), "2 bytes follow"),
            ((InferInput("image", "BYTES", (2**40,), b""),), "holds 1099511627776 images"),
            ((pixels(datatype="FP16"),), "'pixels' is FP16, model 'm' takes FP32"),
            ((pixels(datatype="BYTES"),), "'pixels' is BYTES"),
            ((pixels(ROWS[:, :2]),), "shape [2, 2, 2, 2], the model takes [-1, 3, 2, 2]"),
            ((pixels(ROWS[0]),), "shape [3, 2, 2]"),
            ((pixels(ROWS[:0]),), "shape [0, 3, 2, 2]"),
            ((pixels(ROWS.tobytes()[:-1], ROWS.shape),), "takes 96 bytes, 95 were sent"),
            ((pixels(ROWS.tobytes() + b"1", ROWS.shape),), "takes 96 bytes, 97 were sent"),
            ((pixels(ROWS[:1], ROWS.shape),), "does not hold the 24 elements"),
            ((pixels(ROWS.astype(np.float64)),), "holds float64 elements"),
            ((pixels([b"a"] * 24, ROWS.shape),), "does not hold"),
            ((pixels(b"", (10**9, 3, 2, 2)),), "holds 1000000000 images or rows"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, given: tuple[InferInput, ...], said: str) -> None:
        assert said in refused(FakeModel(), *given)

    def test_who_takes_no_images_says_so(self) -> None:
        model = FakeModel(engine_info(image_shape=None))
        assert "takes no encoded images; it takes: pixels FP32" in refused(model, images(b"a"))

    def test_who_takes_images_only_says_so(self) -> None:
        model = FakeModel(engine_info(inputs=(), image_shape=None, takes_encoded=True))
        assert "takes encoded images only, not the input 'pixels'" in refused(model, pixels())

    def test_a_tensor_named_image_is_told_apart_by_its_datatype(self) -> None:
        model = FakeModel(engine_info(inputs=(TensorSpec("image", "FP32", PIXELS.shape),)))
        run(model, InferInput("image", "FP32", ROWS.shape, ROWS))
        run(model, images(b"a"))
        assert [type(submitted.rows) for submitted in model.submitted] == [np.ndarray, list]


class TestOutputs:
    def test_all_outputs_if_none_is_asked(self) -> None:
        response = run(FakeModel(), images(b"a", b"b"))
        assert [(t.name, t.datatype, t.shape) for t in response.outputs] == [
            ("scores", "FP32", (2, 3)),
            ("features", "INT64", (2, 2)),
        ]

    def test_outputs_come_in_the_order_asked(self) -> None:
        asked = (RequestedOutput("features"), RequestedOutput("scores"))
        response = run(FakeModel(), images(b"a", b"b"), outputs=asked)
        assert [tensor.name for tensor in response.outputs] == ["features", "scores"]
        np.testing.assert_array_equal(response.outputs[0].data, [[0, 0], [1, 10]])

    def test_classes_with_labels(self) -> None:
        response = run(FakeModel(), images(b"a", b"b"), outputs=(RequestedOutput("scores", 2),))
        (tensor,) = response.outputs
        assert (tensor.datatype, tensor.shape) == ("BYTES", (2, 2))
        assert tensor.data == [b"0.5:0:ant", b"0.25:1:bee", b"1.25:1:bee", b"0.5:0:ant"]

    def test_a_count_above_the_classes_gives_all(self) -> None:
        response = run(FakeModel(labels=("ant",)), images(b"a"), outputs=(RequestedOutput("scores", 99),))
        assert response.outputs[0].data == [b"0.5:0:ant", b"0.25:1", b"-1.0:2"]

    def test_labels_belong_to_the_scores_only(self) -> None:
        response = run(FakeModel(), images(b"a", b"b"), outputs=(RequestedOutput("features", 1),))
        assert response.outputs[0].data == [b"0:0", b"10:1"]

    def test_equal_values_rank_by_index_and_unsigned_ones_by_value(self) -> None:
        model = FakeModel(engine_info(outputs=(TensorSpec("y", "UINT8", (-1, 4)),), scores=None))
        model.outputs = lambda _count: {"y": np.array([[7, 0, 7, 255]], np.uint8)}
        response = run(model, images(b"a"), outputs=(RequestedOutput("y", 4),))
        assert response.outputs[0].data == [b"255:3", b"7:0", b"7:2", b"0:1"]

    def test_bf16_is_named_as_the_model_names_it(self) -> None:
        model = FakeModel(engine_info(outputs=(TensorSpec("y", "BF16", (-1, 1)),)))
        model.outputs = lambda count: {"y": np.zeros((count, 1), np.uint16)}
        assert run(model, images(b"a")).outputs[0].datatype == "BF16"

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ([RequestedOutput("nope")], "no output 'nope'; its outputs: scores FP32 [-1, 3]"),
            ([RequestedOutput("scores"), RequestedOutput("scores", 1)], "'scores' is asked for twice"),
            (
                [RequestedOutput("scores", 1, region=RegionSlice("r", 0, 1))],
                "as classes and in shared memory",
            ),
            ([RequestedOutput("scores", region=RegionSlice("r", 0, 1))], "not allowed"),
        ],
    )
    def test_what_is_refused(self, asked: list[RequestedOutput], said: str) -> None:
        assert said in refused(FakeModel(), images(b"a"), outputs=tuple(asked))


class TestSharedMemory:
    @pytest.fixture
    def regions(self, tmp_path: Path) -> RegionTable:
        (tmp_path / "in").write_bytes(bytes(4) + ROWS.tobytes())
        (tmp_path / "out").write_bytes(bytes(64))
        table = RegionTable(allowed=True, directory=tmp_path)
        table.register("in", "in", 0, 100)
        table.register("out", "out", 0, 64)
        return table

    def test_in_and_out(self, regions: RegionTable, tmp_path: Path) -> None:
        model = FakeModel()
        asked = RequestedOutput("scores", region=RegionSlice("out", 8, 30))
        response = run(model, pixels(RegionSlice("in", 4, 96), ROWS.shape), outputs=(asked,), regions=regions)
        np.testing.assert_array_equal(model.submitted[0].rows, ROWS)
        (tensor,) = response.outputs
        assert tensor.data is None
        assert tensor.parameters == {
            "shared_memory_region": "out",
            "shared_memory_byte_size": 24,
            "shared_memory_offset": 8,
        }
        written = np.frombuffer((tmp_path / "out").read_bytes(), np.float32, 6, 8)
        np.testing.assert_array_equal(written, [0.5, 0.25, -1, 0.5, 1.25, -1])
        regions.close()

    def test_an_output_that_does_not_fit(self, regions: RegionTable) -> None:
        model, results = FakeModel(), list[Result]()
        asked = RequestedOutput("scores", region=RegionSlice("out", 0, 11))
        inference = prepare(model, images(b"a"), outputs=(asked,), regions=regions)
        inference.start(started_ns=0, received_ns=0, on_done=results.append)
        model.answer()
        assert isinstance(results[0], InvalidRequestError)
        assert "takes 12 bytes, shared_memory_byte_size is 11" in results[0].message
        regions.close()

    def test_sizes_are_checked_before_anything_runs(self, regions: RegionTable) -> None:
        asked = RequestedOutput("scores", region=RegionSlice("out", 0, 65))
        assert "outside region 'out'" in refused(FakeModel(), images(b"a"), outputs=(asked,), regions=regions)
        short = pixels(RegionSlice("in", 0, 95), ROWS.shape)
        assert "takes 96 bytes, 95 were sent" in refused(FakeModel(), short, regions=regions)
        regions.close()


class TestLifeOfACall:
    def test_an_answer_from_inside_start(self) -> None:
        model = FakeModel(answers_at_once=True)
        run(model, images(b"a"))

    def test_errors_arrive_as_they_are(self) -> None:
        model, results = FakeModel(), list[Result]()
        model.error = EngineError("broken")
        inference = prepare(model, images(b"a"))
        inference.start(started_ns=0, received_ns=0, on_done=results.append)
        model.answer()
        assert results == [model.error]

    def test_nobody_is_answered_after_cancel(self) -> None:
        model, results = FakeModel(), list[Result]()
        inference = prepare(model, images(b"a"))
        inference.start(started_ns=0, received_ns=0, on_done=results.append)
        inference.cancel()
        inference.cancel()
        model.answer()
        assert results == []
        assert len(model.cancelled) == 1

    def test_the_reply_closes_the_traces(self) -> None:
        model = FakeModel()
        inference = prepare(model, images(b"a", b"b"))
        assert inference.trace is None
        inference.start(started_ns=5, received_ns=7, on_done=lambda _result: None)
        requests = model.submitted[0].call.requests
        requests[0].trace.admitted, requests[1].trace.admitted = 10, 20
        model.answer()
        assert inference.trace is requests[1].trace
        inference.replied(99)
        assert [request.trace.replied for request in requests] == [99, 99]
        assert model.replied == [model.submitted[0].call]

    def test_a_fault_of_the_engine_ends_one_call_only(self, caplog: pytest.LogCaptureFixture) -> None:
        model, results = FakeModel(), list[Result]()
        model.outputs = lambda _count: {}
        inference = prepare(model, images(b"a"))
        inference.start(started_ns=0, received_ns=0, on_done=results.append)
        model.answer()
        assert isinstance(results[0], EngineError)
        assert "could not be made" in caplog.text

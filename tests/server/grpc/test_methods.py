"""The service's plain methods over a real connection."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from beyond_serve import errors
from beyond_serve.server.oip.shared_memory import RegionTable
from beyond_serve.wire.messages import METHODS
from tests.server.grpc.conftest import connected, serving


def request(method, **fields):
    return METHODS[method].request(**fields)


async def test_live_and_ready(client, repository):
    assert (await client.call("ServerLive")).live
    assert (await client.call("ServerReady")).ready
    repository.ready = False
    assert not (await client.call("ServerReady")).ready


async def test_a_stopping_server_is_alive_and_not_ready(repository):
    async with serving(repository, stopping=lambda: True) as server, connected(server) as client:
        assert (await client.call("ServerLive")).live
        assert not (await client.call("ServerReady")).ready
        assert not (await client.call("ModelReady", request("ModelReady", name="digits"))).ready


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("digits", "", True), ("digits", "1", True), ("digits", "2", False), ("no", "", False)],
)
async def test_an_unknown_model_is_not_ready_and_no_error(client, name, version, ready):
    answer = await client.call("ModelReady", request("ModelReady", name=name, version=version))
    assert answer.ready is ready


async def test_the_server_says_what_it_is(client):
    answer = await client.call("ServerMetadata")
    assert answer.name == "beyond-serve"
    assert "statistics" in answer.extensions
    assert "system_shared_memory" not in answer.extensions


async def test_model_metadata(client):
    answer = await client.call("ModelMetadata", request("ModelMetadata", name="digits"))
    assert (answer.name, list(answer.versions)) == ("digits", ["1"])
    assert [(t.name, t.datatype, list(t.shape)) for t in answer.inputs] == [
        ("image", "BYTES", [-1]),
        ("input", "FP32", [-1, 2, 3]),
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in answer.outputs] == [("scores", "FP32", [-1, 3])]


async def test_model_config(client):
    config = (await client.call("ModelConfig", request("ModelConfig", name="digits"))).config
    assert (config.name, config.max_batch_size) == ("digits", 32)
    assert [(t.name, list(t.dims)) for t in config.input] == [("image", [1]), ("input", [2, 3])]
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert config.instance_group[0].count == 1


async def test_statistics_of_one_and_of_all(client, model):
    one = await client.call("ModelStatistics", request("ModelStatistics", name="digits"))
    every = await client.call("ModelStatistics")
    assert [s.name for s in one.model_stats] == [s.name for s in every.model_stats] == ["digits"]
    assert one.model_stats[0].inference_stats.HasField("cache_hit")


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
async def test_an_unknown_model_is_not_found(client, method):
    failure = await client.error(method, request(method, name="no"))
    assert failure.code() is grpc.StatusCode.NOT_FOUND
    assert failure.trailing_metadata()["error-code"] == "model_not_found"


async def test_the_index_and_the_ready_of_it(client):
    index = await client.call("RepositoryIndex")
    assert [(m.name, m.state, m.reason) for m in index.models] == [
        ("digits", "READY", ""),
        ("absent", "UNAVAILABLE", "unloaded"),
    ]
    ready = await client.call("RepositoryIndex", request("RepositoryIndex", ready=True))
    assert [m.name for m in ready.models] == ["digits"]


async def test_load_and_unload(client, repository):
    await client.call("RepositoryModelLoad", request("RepositoryModelLoad", model_name="digits"))
    unload = request("RepositoryModelUnload", model_name="digits")
    unload.parameters["unload_dependents"].bool_param = True
    await client.call("RepositoryModelUnload", unload)
    assert repository.changes == [("load", "digits"), ("unload", "digits")]


@pytest.mark.parametrize("error", [errors.ModelLoadError("no model"), errors.ConfigError("bad file")])
async def test_a_model_that_cannot_be_loaded_is_the_askers_fault(client, repository, error):
    repository.error = error
    failure = await client.error("RepositoryModelLoad", request("RepositoryModelLoad", model_name="digits"))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.details() == error.message


async def test_a_configuration_cannot_be_sent(client, repository):
    load = request("RepositoryModelLoad", model_name="digits")
    load.parameters["config"].string_param = "{}"
    failure = await client.error("RepositoryModelLoad", load)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert repository.changes == []


async def test_a_load_goes_on_when_its_client_leaves(client, repository):
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def load(_name):
        begun.set()
        await go_on.wait()
        ended.set()

    repository.load = load
    call = client.call("RepositoryModelLoad", request("RepositoryModelLoad", model_name="digits"))
    await begun.wait()
    call.cancel()
    # An answer after the cancellation: the server has seen it by then.
    await client.call("ServerLive")
    go_on.set()
    await ended.wait()


async def test_shared_memory_is_refused_unless_allowed(client):
    register = request("SystemSharedMemoryRegister", name="r", key="/k", byte_size=8)
    failure = await client.error("SystemSharedMemoryRegister", register)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "--allow-client-shm" in failure.details()


async def test_shared_memory_regions_come_and_go(repository, tmp_path):
    (tmp_path / "k").write_bytes(bytes(64))
    regions = RegionTable(allowed=True, directory=tmp_path)
    async with serving(repository, regions) as server, connected(server) as client:
        register = request("SystemSharedMemoryRegister", name="r", key="/k", offset=8, byte_size=32)
        await client.call("SystemSharedMemoryRegister", register)
        status = await client.call("SystemSharedMemoryStatus")
        region = status.regions["r"]
        assert (region.name, region.key, region.offset, region.byte_size) == ("r", "/k", 8, 32)
        await client.call("SystemSharedMemoryUnregister", request("SystemSharedMemoryUnregister", name="r"))
        assert not (await client.call("SystemSharedMemoryStatus")).regions
        assert "system_shared_memory" in (await client.call("ServerMetadata")).extensions


@pytest.mark.parametrize(
    "method", ["CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"]
)
async def test_what_is_not_served_says_so_in_a_sentence(client, method):
    failure = await client.error(method)
    assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure.trailing_metadata()["error-code"] == "not_implemented"
    assert "not served" in failure.details()


async def test_every_method_of_the_protocol_is_answered(server):
    """No method falls through to gRPC's own 'Method not found!'."""
    assert {method.path for method in METHODS.values()} <= server._router._routes.keys()


async def test_settings_can_be_read_and_confirmed(client):
    trace = await client.call("TraceSetting")
    assert list(trace.settings["trace_level"].value) == ["OFF"]
    # Request and answer hold their settings under the same numbers.
    same = METHODS["TraceSetting"].request.FromString(trace.SerializeToString())
    assert await client.call("TraceSetting", same) == trace
    log = await client.call("LogSettings")
    assert log.settings["log_info"].bool_param
    assert log.settings["log_verbose_level"].WhichOneof("parameter_choice") == "uint32_param"
    same = METHODS["LogSettings"].request.FromString(log.SerializeToString())
    assert await client.call("LogSettings", same) == log


async def test_settings_cannot_be_changed(client):
    trace = request("TraceSetting")
    trace.settings["trace_rate"].value.append("5")
    assert (await client.error("TraceSetting", trace)).code() is grpc.StatusCode.INVALID_ARGUMENT
    log = request("LogSettings")
    log.settings["log_verbose_level"].uint32_param = 4
    assert (await client.error("LogSettings", log)).code() is grpc.StatusCode.INVALID_ARGUMENT

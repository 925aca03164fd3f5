"""Everything under /v2 but inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import beyond_serve
from beyond_serve.errors import ConfigError, ModelLoadError, ModelNotFoundError
from tests.server.oip.fakes import FakeModel
from tests.server.v2.asking import Server


class TestServer:
    @pytest.mark.parametrize("path", ["/v2", "/v2/"])
    def test_metadata(self, path: str) -> None:
        document = Server().get(path).json()
        assert (document["name"], document["version"]) == ("beyond-serve", beyond_serve.__version__)
        assert "binary_tensor_data" in document["extensions"]
        assert "system_shared_memory" not in document["extensions"]
        assert "system_shared_memory" in Server(shm=True).get(path).json()["extensions"]

    def test_live_as_long_as_it_answers(self) -> None:
        server = Server()
        server.repository.ready, server.stopping = False, True
        reply = server.get("/v2/health/live")
        assert (reply.status, reply.json()) == (200, {"live": True})

    @pytest.mark.parametrize(
        ("ready", "stopping", "status"), [(True, False, 200), (False, False, 400), (True, True, 400)]
    )
    def test_ready(self, ready: bool, stopping: bool, status: int) -> None:
        server = Server()
        server.repository.ready, server.stopping = ready, stopping
        reply = server.get("/v2/health/ready")
        assert (reply.status, reply.json()) == (status, {"ready": status == 200})

    @pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/models/m", "/v2/models/m/ready"])
    def test_head(self, path: str) -> None:
        assert Server().start("HEAD", path).reply.status == 200


class TestModels:
    @pytest.mark.parametrize("path", ["/v2/models/m", "/v2/models/m/versions/1"])
    def test_a_model(self, path: str) -> None:
        server = Server()
        assert server.get(path).json()["inputs"][0] == {"name": "image", "datatype": "BYTES", "shape": [-1]}
        assert server.get(f"{path}/config").json()["max_batch_size"] == 8
        assert [entry["name"] for entry in server.get(f"{path}/stats").json()["model_stats"]] == ["m"]
        assert server.get(f"{path}/ready").json() == {"name": "m", "ready": True}

    @pytest.mark.parametrize("what", ["", "/config", "/stats"])
    def test_an_unknown_model(self, what: str) -> None:
        for path in ("/v2/models/x", "/v2/models/m/versions/2"):
            assert Server().get(path + what).status == 404
        assert Server().get(f"/v2/models/m/versions/1a{what}").status == 400

    def test_ready_of_an_unknown_model(self) -> None:
        reply = Server().get("/v2/models/x/ready")
        assert (reply.status, "no model 'x'" in reply.error) == (400, True)

    def test_ready_of_a_model_that_is_not(self) -> None:
        server = Server()
        server.model.ready = False
        reply = server.get("/v2/models/m/ready")
        assert (reply.status, reply.json()) == (400, {"name": "m", "ready": False})

    def test_statistics_of_all(self) -> None:
        server = Server(FakeModel(name="a"), FakeModel(name="b"))
        names = [entry["name"] for entry in server.get("/v2/models/stats").json()["model_stats"]]
        assert names == ["a", "b"]


class TestRepository:
    LOAD, UNLOAD = "/v2/repository/models/m/load", "/v2/repository/models/m/unload"

    @pytest.mark.parametrize(
        ("body", "names"), [(None, ["m", "gone"]), ({"ready": True}, ["m"]), ({}, ["m", "gone"])]
    )
    def test_index(self, body: object, names: list[str]) -> None:
        index = Server().post("/v2/repository/index", body).json()
        assert [entry["name"] for entry in index] == names
        assert index[0] == {"name": "m", "version": "1", "state": "READY", "reason": ""}

    @pytest.mark.parametrize("body", [{"ready": 1}, [], "x"])
    def test_index_of_nonsense(self, body: object) -> None:
        assert Server().post("/v2/repository/index", body).status == 400

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": {}}'])
    async def test_load_and_unload(self, body: bytes) -> None:
        server = Server()
        for path in (self.LOAD, self.UNLOAD):
            reply = (await server.start("POST", path, body).ended()).reply
            assert (reply.status, reply.json()) == (200, {})
        assert server.repository.changes == [("load", "m"), ("unload", "m")]

    async def test_unload_with_dependents(self) -> None:
        body = b'{"parameters": {"unload_dependents": true}}'
        assert (await Server().start("POST", self.UNLOAD, body).ended()).reply.status == 200

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ModelNotFoundError("no"), 404),
            (ModelLoadError("no"), 400),
            (ConfigError("no"), 400),
            (RuntimeError("secret"), 500),
        ],
    )
    async def test_what_fails(self, error: Exception, status: int) -> None:
        server = Server()
        server.repository.error = error
        reply = (await server.start("POST", self.LOAD).ended()).reply
        assert reply.status == status
        assert "secret" not in reply.error

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b'{"parameters": {"config": "{}"}}', "parameters (config)"),
            (b'{"parameters": []}', "'parameters' is no object"),
            (b"{", "no valid JSON"),
        ],
    )
    def test_what_is_refused(self, body: bytes, said: str) -> None:
        server = Server()
        reply = server.start("POST", self.LOAD, body).reply
        assert (reply.status, said in reply.error) == (400, True)
        assert server.repository.changes == []


class TestSharedMemory:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Server:
        (tmp_path / "object").write_bytes(bytes(64))
        return Server(shm=True, directory=tmp_path)

    def test_register_status_unregister(self, server: Server) -> None:
        for name in ("a", "b"):
            body = {"key": "/object", "byte_size": 32, "offset": 8}
            assert server.post(f"/v2/systemsharedmemory/region/{name}/register", body).status == 200
        listed = server.get("/v2/systemsharedmemory/status").json()
        assert [entry["name"] for entry in listed] == ["a", "b"]
        assert server.get("/v2/systemsharedmemory/region/b/status").json() == [
            {"name": "b", "key": "/object", "offset": 8, "byte_size": 32}
        ]
        assert server.post("/v2/systemsharedmemory/region/a/unregister").status == 200
        assert server.get("/v2/systemsharedmemory/region/a/status").status == 400
        assert server.post("/v2/systemsharedmemory/unregister").status == 200
        assert server.get("/v2/systemsharedmemory/status").json() == []

    @pytest.mark.parametrize(
        "body",
        [
            None,
            {},
            [],
            {"key": "/object"},
            {"byte_size": 1},
            {"key": 1, "byte_size": 1},
            {"key": "/object", "byte_size": "1"},
            {"key": "/object", "byte_size": 65},
            {"key": "/object", "byte_size": 1, "offset": -1},
            {"key": "/missing", "byte_size": 1},
        ],
    )
    def test_what_cannot_be_registered(self, server: Server, body: Any) -> None:
        assert server.post("/v2/systemsharedmemory/region/a/register", body).status == 400
        assert server.regions.status() == []

    def test_of_cuda_there_is_none(self, server: Server) -> None:
        assert server.get("/v2/cudasharedmemory/status").json() == []
        assert server.post("/v2/cudasharedmemory/unregister").status == 200
        assert server.post("/v2/cudasharedmemory/region/a/unregister").status == 200
        assert "not served" in server.post("/v2/cudasharedmemory/region/a/register", {}).error
        assert server.get("/v2/cudasharedmemory/region/a/status").status == 400


class TestSettings:
    def test_trace(self) -> None:
        assert Server().get("/v2/trace/setting").json()["trace_level"] == ["OFF"]
        server = Server(trace_file="t.json")
        settings = server.get("/v2/models/m/trace/setting").json()
        assert (settings["trace_file"], settings["trace_level"]) == ("t.json", ["TIMESTAMPS"])
        assert server.get("/v2/models/x/trace/setting").status == 404

    def test_log(self) -> None:
        settings = Server(log_level="warning").get("/v2/logging").json()
        assert (settings["log_info"], settings["log_warning"], settings["log_error"]) == (False, True, True)

    @pytest.mark.parametrize(
        ("path", "same", "other"),
        [
            ("/v2/trace/setting", {"trace_rate": "1", "trace_file": None}, {"trace_rate": "2"}),
            ("/v2/models/m/trace/setting", {}, {"unknown": "1"}),
            ("/v2/logging", {"log_info": True}, {"log_verbose_level": 3}),
        ],
    )
    def test_they_cannot_be_changed(self, path: str, same: object, other: object) -> None:
        server = Server()
        assert server.post(path, same).json() == server.get(path).json()
        reply = server.post(path, other)
        assert (reply.status, "cannot be changed" in reply.error) == (400, True)

"""The description of the HTTP interface, OpenAPI 3.1, as `GET /openapi.json` answers it."""

from __future__ import annotations

from typing import Any, get_args

from beyond_serve.batching import Release

Json = dict[str, Any]

_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_ERRORS = {
    "400": "invalid request",
    "401": "token missing or wrong",
    "404": "no such model",
    "413": "too many bytes or pixels",
    "415": "not a served image format",
    "422": "the image cannot be decoded",
    "429": "the queue is full; see Retry-After",
    "500": "the engine failed",
    "503": "stopping, or the instance was lost",
    "504": "the deadline passed",
}


def openapi_document(version: str) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "beyond-serve",
            "version": version,
            "description": "Images in, labels and scores out, with a timestamp for every stage. "
            "/v2 is the Open Inference Protocol with Triton's binary, statistics and repository extensions.",
        },
        "paths": {
            "/predict": {"post": _predict("predict"), "put": _predict("predictByPut")},
            "/healthz": {
                "get": _plain("health", "Readiness of the server and its models", {"503": "not ready"})
            },
            "/metrics": {"get": _text("metrics", "Prometheus metrics")},
            "/openapi.json": {"get": _plain("openapi", "This document")},
            **_v2(),
        },
        "components": {"schemas": _schemas()},
    }


def _json(description: str, schema: Json | None = None) -> Json:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema or {"type": "object"}}},
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _errors(*statuses: str) -> Json:
    return {status: _json(_ERRORS[status], _ref("Error")) for status in statuses}


def _predict(operation: str) -> Json:
    def query(name: str, schema: Json, description: str) -> Json:
        return {"name": name, "in": "query", "schema": schema, "description": description}

    several = {"type": "array", "items": {"anyOf": [_ref("Prediction"), _ref("Error")]}}
    return {
        "operationId": operation,
        "summary": "Classify an encoded image, or several in a multipart body",
        "parameters": [
            query("model", {"type": "string"}, "which model; needed if several are served"),
            query(
                "top_k",
                {"type": "integer", "minimum": 1, "maximum": 100000, "default": 5},
                "classes to answer",
            ),
            query("trace", {"type": "string", "enum": ["0", "1", "true", "false"]}, "answer the trace too"),
            query("timeout_ms", {"type": "number", "exclusiveMinimum": 0}, "deadline, from the first byte"),
            query("priority", {"type": "integer", "minimum": 0}, "1 is highest, 0 the default"),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "additionalProperties": {"type": "string", "format": "binary"},
                    }
                },
            },
        },
        "responses": {
            "200": _json("the best classes", {"anyOf": [_ref("Prediction"), several]}),
            **_errors(*_ERRORS),
        },
    }


def _plain(operation: str, summary: str, others: dict[str, str] | None = None) -> Json:
    responses = {"200": _json(summary)} | {status: _json(text) for status, text in (others or {}).items()}
    return {"operationId": operation, "summary": summary, "responses": responses}


def _text(operation: str, summary: str) -> Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}},
    }


def _v2() -> Json:
    def named(operation: str, summary: str) -> Json:
        return {**_plain(operation, summary), "parameters": [_NAME]} | {
            "responses": {"200": _json(summary), **_errors("404")}
        }

    infer = {
        **named("infer", "Infer: JSON, or JSON and binary tensors"),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
    }
    return {
        "/v2": {"get": _plain("serverMetadata", "Server metadata")},
        "/v2/health/live": {"get": _plain("live", "The server runs")},
        "/v2/health/ready": {"get": _plain("ready", "The server takes requests", {"400": "not ready"})},
        "/v2/models/{name}": {"get": named("modelMetadata", "Inputs and outputs")},
        "/v2/models/{name}/ready": {"get": named("modelReady", "The model takes requests")},
        "/v2/models/{name}/config": {"get": named("modelConfig", "Configuration, in Triton's words")},
        "/v2/models/{name}/stats": {"get": named("modelStatistics", "Cumulative statistics")},
        "/v2/models/{name}/infer": {"post": infer},
        "/v2/repository/index": {"post": _plain("repositoryIndex", "Models and their states")},
        "/v2/repository/models/{name}/load": {"post": named("loadModel", "Load or reload")},
        "/v2/repository/models/{name}/unload": {"post": named("unloadModel", "Drain and unload")},
    }


def _schemas() -> Json:
    return {"Error": _error_schema(), "Prediction": _prediction_schema(), "Trace": _trace_schema()}


def _error_schema() -> Json:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": text, "message": text, "hint": text},
            }
        },
    }


def _prediction_schema() -> Json:
    text = {"type": "string"}
    ranked = {
        "type": "object",
        "required": ["label", "index", "score"],
        "properties": {"label": text, "index": {"type": "integer"}, "score": {"type": "number"}},
    }
    return {
        "type": "object",
        "required": ["model", "predictions"],
        "properties": {
            "model": text,
            "predictions": {"type": "array", "items": ranked},
            "trace": _ref("Trace"),
        },
    }


def _trace_schema() -> Json:
    number, text = {"type": "number"}, {"type": "string"}
    release = {**text, "enum": list(get_args(Release))}
    return {
        "type": "object",
        "properties": {
            "total_us": number,
            "stages_us": {"type": "object", "additionalProperties": number},
            "residual_us": number,
            "batch": {"type": "object", "properties": {"size": {"type": "integer"}, "release": release}},
            "instance": text,
            "simulated": {"type": "boolean"},
            "rung": {**text, "description": "which plan of the ladder served it; absent without a ladder"},
        },
    }

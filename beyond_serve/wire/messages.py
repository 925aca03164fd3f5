"""The protobuf messages and methods of `inference.GRPCInferenceService`.

The descriptors live in a pool of their own: tritonclient, imported by a user in the same process,
registers the same names in the default pool, and two registrations of one name end the process.
For that reason the classes are made here from the compiled descriptors and not by protoc's plug-in.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from beyond_serve.wire.descriptors import FILE_DESCRIPTOR_SET

SERVICE: Final = "inference.GRPCInferenceService"


class Method(NamedTuple):
    """One RPC of the service. `path` is what gRPC calls it on the wire."""

    path: str
    request: Any
    response: Any
    client_streaming: bool
    server_streaming: bool


def _private_pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL: Final[Any] = _private_pool()
"""The private pool; reflection is given it, and nothing else may be added to it."""


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def _methods() -> dict[str, Method]:
    return {
        method.name: Method(
            f"/{SERVICE}/{method.name}",
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
            method.client_streaming,
            method.server_streaming,
        )
        for method in POOL.FindServiceByName(SERVICE).methods
    }


METHODS: Final = _methods()
"""Every RPC by name, from the descriptor: what is in the .proto is here."""

InferParameter: Final = _message("InferParameter")
InferTensorContents: Final = _message("InferTensorContents")
LogSettingsResponse: Final = _message("LogSettingsResponse")
ModelConfig: Final = _message("ModelConfig")
ModelConfigResponse: Final = _message("ModelConfigResponse")
ModelInferRequest: Final = _message("ModelInferRequest")
ModelInferResponse: Final = _message("ModelInferResponse")
ModelMetadataResponse: Final = _message("ModelMetadataResponse")
ModelReadyResponse: Final = _message("ModelReadyResponse")
ModelStatisticsResponse: Final = _message("ModelStatisticsResponse")
ModelStreamInferResponse: Final = _message("ModelStreamInferResponse")
RepositoryIndexResponse: Final = _message("RepositoryIndexResponse")
RepositoryModelLoadResponse: Final = _message("RepositoryModelLoadResponse")
RepositoryModelUnloadResponse: Final = _message("RepositoryModelUnloadResponse")
ServerLiveResponse: Final = _message("ServerLiveResponse")
ServerMetadataResponse: Final = _message("ServerMetadataResponse")
ServerReadyResponse: Final = _message("ServerReadyResponse")
SystemSharedMemoryRegisterResponse: Final = _message("SystemSharedMemoryRegisterResponse")
SystemSharedMemoryStatusResponse: Final = _message("SystemSharedMemoryStatusResponse")
SystemSharedMemoryUnregisterResponse: Final = _message("SystemSharedMemoryUnregisterResponse")
TraceSettingResponse: Final = _message("TraceSettingResponse")

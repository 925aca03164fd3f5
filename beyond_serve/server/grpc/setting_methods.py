"""The trace and logging extensions: settings can be read, and are chosen when the server starts.

Source: triton-inference-server/server, docs/protocol/extension_trace.md and extension_logging.md.
"""

from __future__ import annotations

from typing import Any

from beyond_serve.errors import InvalidRequestError
from beyond_serve.server.grpc.router import Route, UnaryRpc, always
from beyond_serve.server.oip.settings import log_settings, trace_settings
from beyond_serve.wire.messages import METHODS, LogSettingsResponse, TraceSettingResponse


class SettingMethods:
    """Answers with the settings. A setting that is as it is asked to be, or is named without a value, is
    no error; any other cannot be changed."""

    def __init__(self, trace_file: str, log_level: str) -> None:
        self._trace = {name: _strings(value) for name, value in trace_settings(trace_file).items()}
        self._log = log_settings(log_level)

    def routes(self) -> dict[str, Route]:
        answers = {"TraceSetting": self.trace, "LogSettings": self.log}
        return {
            METHODS[name].path: always(UnaryRpc(METHODS[name].request, answer))
            for name, answer in answers.items()
        }

    def trace(self, request: Any) -> Any:
        for name, setting in request.settings.items():
            if setting.value and list(setting.value) != self._trace.get(name):
                raise _fixed("trace", name, "--trace-file")
        response = TraceSettingResponse()
        for name, value in self._trace.items():
            response.settings[name].value.extend(value)
        return response

    def log(self, request: Any) -> Any:
        for name, setting in request.settings.items():
            choice = setting.WhichOneof("parameter_choice")
            if choice is not None and (name not in self._log or getattr(setting, choice) != self._log[name]):
                raise _fixed("log", name, "--log-level")
        response = LogSettingsResponse()
        for name, value in self._log.items():
            _set_choice(response.settings[name], value)
        return response


def _strings(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _set_choice(setting: Any, value: bool | int | str) -> None:
    if isinstance(value, bool):
        setting.bool_param = value
    elif isinstance(value, int):
        setting.uint32_param = value
    else:
        setting.string_param = value


def _fixed(kind: str, name: str, flag: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the {kind} setting '{name[:40]}' cannot be changed while the server runs", f"start it with {flag}"
    )

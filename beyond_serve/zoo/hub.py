"""Fetching a repository's checkpoint from the Hugging Face Hub, or finding it in the local cache."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyond_serve.engines.foreign import one_line
from beyond_serve.zoo import torch_extra

_DEFAULT_ENDPOINT = "https://huggingface.co"
_REACH_TIMEOUT_S = 5.0
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A repository's files in `folder`, at the commit `revision`."""

    folder: Path
    revision: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why the hub does not give a checkpoint (not reachable, not found, not allowed), and what to do."""

    message: str
    hint: str


class _RefusedError(Exception):
    """Carries an Unavailable up to `fetch`."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.answer = Unavailable(message, hint)


def fetch(repository: str, endpoint: str | None = None, cache: Path | None = None) -> Fetched | Unavailable:
    """config.json, preprocessor_config.json where there is one, and the weights; or why there are none.

    endpoint: of the hub, HF_ENDPOINT by default. cache: folder, the hub client's own by default. What is in
    the cache is used where the hub cannot be reached. Raises ModelLoadError if huggingface_hub is missing.
    """
    try:
        return _fetch(repository, endpoint, cache)
    except _RefusedError as refused:
        return refused.answer


def _fetch(repository: str, endpoint: str | None, cache: Path | None) -> Fetched:
    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT
    hub = torch_extra.load("huggingface_hub")
    why_not = why_unreachable(f"{endpoint}/{repository}/resolve/main/config.json")
    files = _Files(hub, repository, endpoint, cache, why_not)
    config = files.get("config.json")
    files.get_if_there("preprocessor_config.json")
    for name in _WEIGHTS:
        if files.get_if_there(name) is not None:
            return Fetched(config.parent, config.parent.name)
    raise _RefusedError(
        f"'{repository}' has no weights that can be read here ({', '.join(_WEIGHTS)})",
        "convert it to safetensors and export with --checkpoint FOLDER",
    )


class _Files:
    """One repository's files; `why_not` is why the hub cannot be asked, None if it can."""

    def __init__(
        self, hub: Any, repository: str, endpoint: str, cache: Path | None, why_not: str | None
    ) -> None:
        self._hub = hub
        self._repository = repository
        self._endpoint = endpoint
        self._cache = cache
        self._why_not = why_not

    def get_if_there(self, name: str) -> Path | None:
        """None if the repository (or, without a hub, the cache) has no such file."""
        errors = torch_extra.load("huggingface_hub.errors")
        try:
            return self._download(name)
        except errors.EntryNotFoundError:
            return None
        except (OSError, ValueError, errors.HfHubHTTPError) as error:
            raise self._refused(error) from error

    def get(self, name: str) -> Path:
        path = self.get_if_there(name)
        if path is not None:
            return path
        if self._why_not is not None:
            raise _RefusedError(
                f"the hub {self._endpoint} cannot be reached ({self._why_not}), and '{self._repository}' is "
                "not in the local cache",
                "use --weights random, or --checkpoint FOLDER with a copy of the repository",
            )
        raise _RefusedError(
            f"'{self._repository}' has no {name}", "name a repository of transformers or timm"
        )

    def _download(self, name: str) -> Path:
        with torch_extra.quiet():
            return Path(
                self._hub.hf_hub_download(
                    self._repository,
                    name,
                    endpoint=self._endpoint,
                    cache_dir=self._cache,
                    local_files_only=self._why_not is not None,
                )
            )

    def _refused(self, error: Exception) -> _RefusedError:
        return _RefusedError(
            f"the hub {self._endpoint} does not give '{self._repository}': {one_line(error)}",
            "check the name; for gated repositories accept their terms and set HF_TOKEN",
        )


def why_unreachable(url: str) -> str | None:
    """Why nothing answers at `url`, None if something does. Asked once: the hub's client would retry for
    half a minute before it says so."""
    if not url.startswith(("http://", "https://")):
        return "HF_ENDPOINT is no http address"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # the scheme was checked above
    try:
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):  # noqa: S310
            return None
    except urllib.error.HTTPError:
        return None  # it answers; the hub's client tells what it means
    except urllib.error.URLError as error:
        return _reason(error.reason)
    except OSError as error:
        return _reason(error)


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_REACH_TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(error) if isinstance(error, BaseException) else str(error)

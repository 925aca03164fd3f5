"""Which weights a network gets: a checkpoint's, the hub's, or random ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from beyond_serve.errors import ConfigError, ModelLoadError
from beyond_serve.preprocess.beside import read_json
from beyond_serve.zoo import timm_models, transformers_models
from beyond_serve.zoo.catalogue import Architecture, Library
from beyond_serve.zoo.hub import Fetched, Unavailable, fetch
from beyond_serve.zoo.network import Network, Weights

WeightsWanted = Literal["auto", "pretrained", "random"]
Fetch = Callable[[str], Fetched | Unavailable]
Say = Callable[[str], None]


def library_of_folder(folder: Path) -> Library:
    """Whose checkpoint lies there.

    Raises:
        ConfigError: nobody's.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"--checkpoint {folder}: is no folder", "name a folder with config.json and weights"
        )
    config = folder / "config.json"
    if not config.is_file():
        raise ConfigError(
            f"--checkpoint {folder}: has no config.json",
            "save it with save_pretrained, or copy a hub repository",
        )
    content = read_json(config)
    if isinstance(content.get("model_type"), str):
        return "transformers"
    if isinstance(content.get("architecture"), str):
        return "timm"
    raise ConfigError(
        f"{config}: names neither a model_type (transformers) nor an architecture (timm)",
        "save the model with save_pretrained, or timm's save_for_hf",
    )


def from_checkpoint(folder: Path, architecture: Architecture | None, image_size: int | None) -> Network:
    """The network in `folder`.

    Raises:
        ConfigError, ModelLoadError: it cannot be used, or is not `architecture`.
    """
    library = library_of_folder(folder)
    if architecture is not None:
        _check_kind(folder, library, architecture)
    return _of_folder(folder, library, "checkpoint", folder.resolve().name, image_size, architecture)


def from_architecture(
    architecture: Architecture,
    wanted: WeightsWanted,
    seed: int,
    image_size: int | None,
    say: Say,
    fetch: Fetch = fetch,
) -> Network:
    """`architecture` with the weights wanted; "auto" takes random ones where there are none, and says why.

    Raises:
        ModelLoadError: pretrained weights are wanted and not to be had, or they are damaged.
        ConfigError: the network cannot be built as asked for.
    """
    if wanted != "random":
        say(f"looking for {architecture.hub}")
        found = fetch(architecture.hub)
        if isinstance(found, Fetched):
            origin = f"{architecture.hub} at {found.revision[:12]}"
            library = library_of_folder(found.folder)
            return _of_folder(found.folder, library, "pretrained", origin, image_size, architecture)
        if wanted == "pretrained":
            raise ModelLoadError(found.message, found.hint)
        say(f"no pretrained weights: {found.message}")
    if architecture.library == "timm":
        return timm_models.random_network(architecture, seed, image_size)
    return transformers_models.random_network(architecture, seed, image_size or architecture.image_size)


def _of_folder(
    folder: Path,
    library: Library,
    weights: Weights,
    origin: str,
    image_size: int | None,
    architecture: Architecture | None,
) -> Network:
    if library == "timm":
        return timm_models.network_of_folder(folder, weights, origin, image_size)
    return transformers_models.network_of_folder(folder, weights, origin, image_size, architecture)


def _check_kind(folder: Path, library: Library, architecture: Architecture) -> None:
    content = read_json(folder / "config.json")
    found = content["model_type"] if library == "transformers" else content["architecture"]
    wanted = architecture.model if library == "transformers" else architecture.model.partition(".")[0]
    if library != architecture.library or (wanted and found != wanted):
        raise ConfigError(
            f"--checkpoint {folder}: holds a {library} {found}, not {architecture.name}",
            "leave the architecture's name out to take what is there",
        )

"""The flags of experiments that start a server of their own, and what they ask for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from beyond_serve.bench.experiments.serving import ModelSource
from beyond_serve.bench.load.images import MixImage, image_mix
from beyond_serve.errors import ConfigError

SIZES = "small,medium,large"
_NO_SOURCE = frozenset({"", "null:", "sim:"})


def add_serving_arguments(parser: argparse.ArgumentParser, sizes: str = SIZES) -> None:
    """The flags of experiments that start a server of their own."""
    parser.add_argument(
        "--models",
        nargs="+",
        default=["demo"],
        metavar="MODEL",
        help="demo, files, sim:table.json, null:224, each also as NAME=MODEL (default: demo)",
    )
    parser.add_argument(
        "--sizes",
        default=sizes,
        metavar="LIST",
        help=f"small, medium, large (the paper's), 1080p, 12mpx or image files (default: {sizes})",
    )
    parser.add_argument(
        "--flags",
        default="",
        metavar="'--FLAG VALUE …'",
        help="further flags of beyond-serve, in one quoted word; they win over the experiment's own",
    )


def asked_models(given: argparse.Namespace) -> list[ModelSource]:
    """Raises:
    ConfigError: one does not exist, or two of them have one name.
    """
    models = [model_source(text) for text in given.models]
    names = [model.name for model in models]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"two models are named {twice.pop()}", "name them: --models a=x.onnx b=y.onnx")
    return models


def asked_images(given: argparse.Namespace) -> list[MixImage]:
    """One image of each size, generated, or read if it is a file.

    Raises:
        ConfigError: no such size or file.
    """
    return [image for text in given.sizes.split(",") for image in image_mix(text.strip(), given.seed)]


def asked_flags(given: argparse.Namespace, own: Sequence[str] = ()) -> tuple[str, ...]:
    """The experiment's `own` flags, then those given, which argparse lets win.

    Raises:
        ConfigError: a quote is left open.
    """
    try:
        return (*own, *shlex.split(given.flags))
    except ValueError as error:
        raise ConfigError(f"--flags cannot be read: {error}", "as in --flags '--instances 2'") from None


def model_source(text: str) -> ModelSource:
    """Read "demo", "model.onnx", "sim:table.json", "null:224" or any of them as NAME=SOURCE.

    Raises:
        ConfigError: there is no such file.
    """
    name, equals, source = text.partition("=")
    if not equals:
        name, source = "", text
    if source == "demo" or source.startswith("null:"):
        return ModelSource(name or source.rstrip(":").replace(":", "-"), source)
    path = Path(source.removeprefix("sim:"))
    if source in _NO_SOURCE or not path.is_file():
        raise ConfigError(f"no model is at '{source}'", "give demo, a file, null:224 or sim:table.json")
    return ModelSource(name or path.stem, source)

"""The models that the part `models` built, and how they are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from beyond_serve.bench.gpu_check.networks import NETWORKS, PRECISIONS
from beyond_serve.bench.gpu_check.opened import Opened
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.load import load_engine

_LIST = "built.jsonl"


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A .pt2 file. network: a name of `networks.NETWORKS`. precision: "bf16" or "fp16"."""

    network: str
    precision: str
    path: str

    def __str__(self) -> str:
        return f"{self.network} {self.precision}"


def add_built(work: Path, model: BuiltModel) -> None:
    with (work / _LIST).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(model)) + "\n")


def built_models(work: Path) -> list[BuiltModel]:
    """The most wanted first: bf16, and ViT-Base.

    Raises:
        NotHere: there is none.
    """
    path = work / _LIST
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    if not lines:
        raise NotHere("no model was built; see the part models")
    models = [BuiltModel(**json.loads(line)) for line in lines]
    names = [source.name for source in NETWORKS]
    return sorted(models, key=lambda model: (PRECISIONS.index(model.precision), names.index(model.network)))


@contextmanager
def opened(site: Site, model: BuiltModel, max_batch: int) -> Iterator[Opened]:
    """The file as the server loads it, and once more as a network of its own.

    Raises:
        ModelLoadError: it cannot be loaded.
    """
    from beyond_serve.engines.torch.cuda_network import TorchNetwork
    from beyond_serve.engines.torch.describe import read_pt2
    from beyond_serve.engines.torch.library import load_library

    runtime, path = site.runtime(), Path(model.path)
    config = EngineConfig(model.path, engine="torch", device=f"cuda:{site.device}", max_batch=max_batch)
    with ExitStack() as stack:
        engine = load_engine(config)
        stack.callback(engine.close)
        network = TorchNetwork(load_library(), path, read_pt2(path), site.device, max_batch)
        stack.callback(network.close)
        yield Opened(runtime, network, engine)

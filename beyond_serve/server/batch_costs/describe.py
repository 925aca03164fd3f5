"""What `beyond-models describe` says of a model's batch costs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from beyond_serve.batching import BatchCost
from beyond_serve.demo.location import demo_model
from beyond_serve.server.batch_costs.key import CostKey, content_of, is_current, model_file
from beyond_serve.server.batch_costs.store import CostStore, StoredTable


def describe_costs(source: str) -> Iterator[str | Table]:
    """A line and a table for each way in which the model was served on this machine; else a line that says
    how they come to be. `source`: as for `--model`.

    Raises:
        OSError: the model's file cannot be read.
    """
    if source.startswith("sim:"):
        yield "batch costs: simulated, those of the table itself"
        return
    path = demo_model() if source == "demo" else model_file(source)
    if path is None:
        yield "batch costs: not measured, since nothing is computed"
        return
    store, content = CostStore(path), content_of(path)
    tables = [table for table in store.tables() if is_current(table.key, path.name, content)]
    if not tables:
        yield (
            f"batch costs: none for this file on this machine yet; `beyond-serve --model {source}` measures "
            f"them when it starts and keeps them in {store.path}"
        )
    for table in _newest(tables):
        yield _title(table.key)
        yield _rendered(table)


def _newest(tables: list[StoredTable]) -> list[StoredTable]:
    """Each key once, by its first table."""
    seen: list[CostKey] = []
    kept: list[StoredTable] = []
    for table in tables:
        if table.key not in seen:
            seen.append(table.key)
            kept.append(table)
    return kept


def _rendered(table: StoredTable) -> Table:
    key, largest = table.key, max(table.entries)
    cost = BatchCost(largest, table.entries)
    knee = cost.knee(largest)
    rendered = Table(box=None, pad_edge=False)
    for name in ("batch", "ms", "images/s"):
        rendered.add_column(name, justify="right")
    rendered.add_column("")
    # The knee may lie between two measured sizes.
    for size in sorted({*table.entries, knee}):
        ns = cost.latency_ns(size)
        rate = key.instances * size * 1e9 / max(ns, 1)
        rendered.add_row(
            str(size),
            f"{ns / 1e6:.3f}",
            f"{rate:.0f}",
            "knee: within 5 % of the best" if size == knee else "",
        )
    return rendered


def _title(key: CostKey) -> str:
    instances = "1 instance" if key.instances == 1 else f"{key.instances} instances at once"
    engine = " ".join(filter(None, (key.engine, key.engine_version, key.precision)))
    return (
        f"batch costs: {engine} on {key.device}, {instances} "
        f"({key.instance_kind}, {key.threads} threads each), batches up to {key.max_batch}"
    )

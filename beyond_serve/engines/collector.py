"""How Python's cycle collector runs in a process that serves."""

from __future__ import annotations

import gc


def settle_collector() -> None:
    """What start-up made lives as long as the process: keep the collector from walking it again and again,
    which with a framework's modules takes tens of milliseconds and stops every thread.

    Requests are freed without the collector; it looks for the rare cycle rarely.
    """
    gc.collect()
    gc.freeze()
    # Invented numbers.
    gc.set_threshold(50_000, 20, 100)

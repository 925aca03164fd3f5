"""Rows change hands without copies and never have two owners."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching import Request, Trace
from beyond_serve.engines.protocol import IMAGE, tensor_key
from beyond_serve.engines.slots import PayloadRows, SlotArena, SlotRows, rows_of

SHAPE = (2, 2, 3)


def request_with(slot: object = None, payload: object = None) -> Request:
    request = Request(payload, IMAGE, Trace(0, 0), lambda _: None)
    request.slot = slot  # type: ignore[assignment]
    return request


def test_an_arena_hands_out_each_row_once_and_then_none() -> None:
    arena = SlotArena(3, SHAPE)
    slots = [arena.acquire() for _ in range(3)]
    assert sorted(slot.index for slot in slots if slot) == [0, 1, 2]
    assert arena.acquire() is None
    slots[1].free()  # type: ignore[union-attr]
    assert arena.acquire() is slots[1]


def test_on_free_is_told_after_the_row_is_back() -> None:
    arena = SlotArena(1, SHAPE)
    seen = []
    arena.on_free = lambda: seen.append(arena.free_count)
    slot = arena.acquire()
    assert slot is not None
    slot.free()
    assert seen == [1]


def test_neighbouring_rows_are_seen_in_place() -> None:
    arena = SlotArena(4, SHAPE)
    for index in range(4):
        arena.array[index] = index
    stacked = SlotRows(arena.array, [1, 2, 3]).stacked()
    assert np.shares_memory(stacked, arena.array)
    assert stacked[:, 0, 0, 0].tolist() == [1, 2, 3]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True))
def test_a_batch_holds_its_requests_rows_in_their_order(indices: list[int]) -> None:
    arena = SlotArena(8, SHAPE)
    for index in range(8):
        arena.array[index] = index
    slots = {}
    while (slot := arena.acquire()) is not None:
        slots[slot.index] = slot
    requests = [request_with(slots[index]) for index in indices]
    rows = rows_of(requests, IMAGE, arena)
    of_requests = [request.slot.index for request in requests]  # type: ignore[union-attr]
    assert rows.stacked()[:, 0, 0, 0].tolist() == of_requests
    assert sorted(indices) == of_requests


def test_client_tensors_are_stacked_in_the_requests_order() -> None:
    rows = [np.full((3, 2), value, np.float32) for value in (5, 6)]
    batch = rows_of([request_with(payload=row) for row in rows], tensor_key((3, 2)), None)
    assert isinstance(batch, PayloadRows)
    assert batch.stacked().shape == (2, 3, 2)
    assert batch.stacked()[:, 0, 0].tolist() == [5, 6]
    assert batch.key == ("tensor", (3, 2))


def test_a_single_client_tensor_is_not_copied() -> None:
    row = np.zeros((3, 2), np.float32)
    assert np.shares_memory(PayloadRows("tensor", [row]).stacked(), row)


def test_a_shared_buffer_backs_the_rows() -> None:
    buffer = bytearray(2 * 12)
    arena = SlotArena(2, SHAPE, memoryview(buffer))
    arena.array[1] = 7
    assert bytes(buffer) == b"\0" * 12 + b"\7" * 12

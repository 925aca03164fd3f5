from __future__ import annotations

import threading

import pytest

from beyond_serve.errors import ShuttingDownError
from beyond_serve.preprocess.places import Places


def test_places_are_handed_out_in_order() -> None:
    places = Places(2)
    first, second, third, fourth = (places.take() for _ in range(4))
    assert [place.done() for place in (first, second, third, fourth)] == [True, True, False, False]
    places.free()
    assert third.done()
    assert not fourth.done()
    places.free()
    assert fourth.done()
    assert places.taken == 2


def test_whoever_gave_up_is_passed_over() -> None:
    places = Places(1)
    places.take()
    second, third = places.take(), places.take()
    places.give_up(second)
    places.free()
    assert third.done()
    places.free()
    assert places.taken == 0


def test_a_place_that_was_handed_over_meanwhile_is_given_back() -> None:
    places = Places(1)
    place = places.take()
    waiting = places.take()
    places.give_up(place)
    assert waiting.done()
    assert places.taken == 1


def test_cancelled_without_a_word() -> None:
    """As a future of asyncio does it that was chained to the place."""
    places = Places(1)
    places.take()
    places.take().cancel()
    places.free()
    assert places.taken == 0


def test_closed() -> None:
    places = Places(1)
    places.take()
    waiting, gone = places.take(), places.take()
    gone.cancel()
    places.close()
    assert isinstance(waiting.exception(), ShuttingDownError)
    places.give_up(waiting)
    assert places.taken == 1
    with pytest.raises(ShuttingDownError):
        places.take()


def test_join_waits_for_every_place() -> None:
    places = Places(2)
    places.take()
    places.take()
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (places.join(), joined.set()))
    thread.start()
    places.free()
    assert not joined.is_set()
    places.free()
    thread.join(10)
    assert joined.is_set()


def test_no_place_at_all() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Places(0)

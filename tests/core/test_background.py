"""Work in a thread of its own: order, bounds, errors, and the end of it."""

from __future__ import annotations

import threading
import weakref

import pytest

from vis.background import Background


def test_all_is_done_in_order_by_one_other_thread():
    done = []
    with Background(lambda item: done.append((item, threading.get_ident()))) as stage:
        for item in range(50):
            stage.put(item)
    assert [item for item, _ in done] == list(range(50))
    (worker,) = {thread for _, thread in done}
    assert worker != threading.get_ident()
    assert stage.busy >= 0 < stage.waiting


def test_put_waits_for_room():
    """One in hand and two that wait: the fourth has no room until the first is done."""
    begun, go, room = threading.Event(), threading.Event(), threading.Event()

    def work(_item: int) -> None:
        begun.set()
        assert go.wait(10)

    with Background(work, depth=2) as stage:
        stage.put(0)
        assert begun.wait(10)
        stage.put(1)
        stage.put(2)
        fourth = threading.Thread(target=lambda: (stage.put(3), room.set()))
        fourth.start()
        assert not room.wait(0.2)
        go.set()
        assert room.wait(10)
        fourth.join()


@pytest.mark.parametrize("at", [0, 3, 9])
def test_an_error_is_raised_in_the_caller_and_ends_the_work(at):
    done = []

    def work(item: int) -> None:
        if item == at:
            raise KeyError(item)
        done.append(item)

    stage = Background(work)

    def put_ten() -> None:
        with stage:
            for item in range(10):
                stage.put(item)

    with pytest.raises(KeyError, match=str(at)):
        put_ten()
    assert done == list(range(at))
    assert not stage._thread.is_alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, ValueError])
def test_what_waits_is_dropped_when_the_block_is_left(error):
    done, begun, go = [], threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert go.wait(10)
        done.append(item)

    stage = Background(work, depth=2)

    def leave_after_three() -> None:
        with stage:
            for item in range(3):
                stage.put(item)
                assert begun.wait(10)
            threading.Timer(0.1, go.set).start()
            raise error

    with pytest.raises(error):
        leave_after_three()
    assert done == [0]
    assert not stage._thread.is_alive()


def test_an_item_is_let_go_once_it_is_done():
    class Item:
        pass

    alive = []
    with Background(lambda item: alive.append(weakref.ref(item))) as stage:
        stage.put(Item())
        stage.finish()
        assert alive[0]() is None

import threading
from datetime import timedelta

import pytest
from torch.distributed import DistStoreError, HashStore

from metasemi_plugin.distributed.rendezvous import meet

PATIENCE = timedelta(seconds=20)


def names(store, count):
    """What each of so many processes, here threads, is told."""
    found = [None] * count
    threads = [
        threading.Thread(
            target=lambda rank=rank: found.__setitem__(rank, meet(store, rank, count, PATIENCE))
        )
        for rank in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_agree_and_every_attempt_is_another():
    store = HashStore()
    attempts = [names(store, 3) for _ in range(3)]
    assert all(len(set(attempt)) == 1 for attempt in attempts)
    assert len({attempt[0] for attempt in attempts}) == 3


def test_a_name_from_one_that_has_gone_is_not_kept():
    store = HashStore()
    # Rank 0 of an earlier attempt answers the new rank 1, and is ended.
    earlier = threading.Event()
    check = store.check

    class Answered:
        def __getattr__(self, name):
            return getattr(store, name)

        def set(self, key, value):
            store.set(key, value)
            if key == "here 1":
                store.set(f"name for {value}", "earlier")
                earlier.set()

    found = []
    late = threading.Thread(target=lambda: found.append(meet(Answered(), 1, 2, PATIENCE)))
    late.start()
    earlier.wait()
    while not check(["earlier heard by 1"]):
        pass
    assert meet(store, 0, 2, PATIENCE) != "earlier"
    late.join()
    assert found != ["earlier"]


@pytest.mark.parametrize(("rank", "problem"), [(0, r"processes \[1\] have"), (1, "process 0 has")])
def test_who_does_not_come_is_named(rank, problem):
    with pytest.raises(DistStoreError, match=problem):
        meet(HashStore(), rank, 2, timedelta(seconds=0.1))

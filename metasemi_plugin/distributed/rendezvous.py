"""How the processes of one attempt find each other in a store that remembers earlier attempts.

torchrun starts all processes anew when one has died. Its store may live on, and with it the
addresses of processes that are gone; and how often there has been a restart, its agents on several
machines do not agree on. So the processes that are there now agree on a name of their own.
"""

import time
import uuid
from datetime import timedelta

from torch.distributed import DistStoreError, Store


def meet(store: Store, rank: int, count: int, patience: timedelta) -> str:
    """A name that all processes of this attempt know, and none of another.

    Rank 0 makes it up and tells whoever says that he is here. What is left of an earlier attempt
    never answers.

    Raises:
        DistStoreError: somebody has not come in time.
    """
    deadline = time.monotonic() + patience.total_seconds()
    if rank == 0:
        name = uuid.uuid4().hex
        missing = set(range(1, count))
        while missing:
            for other in sorted(missing):
                if store.check([f"here {other}"]):
                    store.set(f"name for {_text(store, f'here {other}')}", name)
                if store.check([f"{name} heard by {other}"]):
                    missing.remove(other)
            _wait(deadline, f"processes {sorted(missing)} have not come")
        store.set(f"{name} begins", "")
        return name
    me = uuid.uuid4().hex
    store.set(f"here {rank}", me)
    while True:
        # Asked again and again: a rank 0 that is about to be ended may have answered first.
        if store.check([f"name for {me}"]):
            name = _text(store, f"name for {me}")
            store.set(f"{name} heard by {rank}", "")
            if store.check([f"{name} begins"]):
                return name
        _wait(deadline, "process 0 has not come")


def _text(store: Store, key: str) -> str:
    return store.get(key).decode()


def _wait(deadline: float, problem: str) -> None:
    if time.monotonic() > deadline:
        raise DistStoreError(problem)
    time.sleep(0.02)

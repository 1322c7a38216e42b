"""What an iteration takes from the host: drawn there, used on the device.

An iteration that is captured once and replayed computes with the numbers it was captured with,
unless they are on the device, at fixed addresses, and filled anew for each replay. So whatever
train_step takes from the host, random or a function of the iteration, it takes by `from_host`.
Without a tape that is a copy to the device. On a `Tape` it is written down, once, how to draw each
number; afterwards `Tape.draw` draws them all, in the same order and so from the same generators,
and sends them over in one copy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

Draw = Callable[[], Tensor | float]

_tape: ContextVar["Tape | None"] = ContextVar("_tape", default=None)


def from_host(draw: Draw, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """The number or tensor that ``draw`` returns, on a device.

    Args:
        draw: is called in each iteration; each time it returns a tensor of the same shape, on the
            CPU, or a number.
        device: where the tensor is wanted.
        dtype: of the tensor; None: as drawn.
    """
    tape = _tape.get()
    if tape is not None:
        return tape.take(draw, dtype)
    drawn = torch.as_tensor(draw(), dtype=dtype)
    if device.type != "cuda":
        return drawn.to(device)
    return drawn.pin_memory().to(device, non_blocking=True)


class Tape:
    """What one iteration takes from the host, in order.

    It is filled twice: by an iteration that computes as ever, which shows what there is to take;
    and by the one that is captured, which gets the places on the device.

    Args:
        device: where the numbers are used.
    """

    AHEAD = 4  # iterations that the host may draw before the device has used the first one
    ALIGNED = 256  # bytes, as the device's own allocations are
    NUMBERS = 64  # at most, see `number`

    def __init__(self, device: torch.device):
        self.device = device
        self.draws: list[tuple[Draw, torch.dtype | None]] = []
        self.numbers: list[Callable[[], float]] = []
        self.found: list[Tensor] = []
        self.places: list[Tensor] = []
        self.slots: list[_Slot] = []
        self.turn = self.taken = 0
        self.recorded = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """An iteration that draws and computes, after which it is known what there is to take."""
        self.draws, self.found, self.recorded = [], [], False
        with self._in_use():
            yield
        self.found.append(torch.zeros(self.NUMBERS))
        offsets, size = [], 0
        for t in self.found:
            offsets.append(size)
            size += -(-t.numel() * t.element_size() // self.ALIGNED) * self.ALIGNED
        whole = torch.empty(max(size, 1), dtype=torch.uint8, device=self.device)
        self.places = _views(whole, offsets, self.found)
        self.slots = [_Slot(whole, offsets, self.found) for _ in range(self.AHEAD)]
        self.recorded = True

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """An iteration that takes the places of its numbers, and draws none.

        Raises:
            RuntimeError: it takes something else than the one that was recorded.
        """
        self.taken, self.numbers = 0, []
        with self._in_use():
            yield
        if self.taken != len(self.draws):
            raise RuntimeError("an iteration takes other numbers from the host than the one before")

    def draw(self) -> None:
        """Draw the numbers of an iteration and send them to the device."""
        drawn = [torch.as_tensor(draw(), dtype=dtype) for draw, dtype in self.draws]
        numbers = torch.zeros(self.NUMBERS)
        numbers[: len(self.numbers)] = torch.tensor([number() for number in self.numbers])
        self.slots[self.turn].send([*drawn, numbers])
        self.turn = (self.turn + 1) % self.AHEAD

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        before = _tape.set(self)
        try:
            yield
        finally:
            _tape.reset(before)

    def take(self, draw: Draw, dtype: torch.dtype | None) -> Tensor:
        if not self.recorded:
            drawn = torch.as_tensor(draw(), dtype=dtype)
            self.draws.append((draw, dtype))
            self.found.append(drawn)
            return drawn.to(self.device)
        self.taken += 1
        if self.taken > len(self.draws):
            raise RuntimeError("an iteration takes more numbers from the host than the one before")
        return self.places[self.taken - 1]

    def number(self, number: Callable[[], float]) -> Tensor:
        """One more, (), that was not recorded: a function of the iteration, not drawn at random."""
        self.numbers.append(number)
        return self.places[-1][len(self.numbers) - 1]


class _Slot:
    """The numbers of one iteration on the host, and their copy to the device.

    Where there are several, one is drawn while another one is on its way.
    """

    def __init__(self, whole: Tensor, offsets: list[int], like: list[Tensor]):
        on_cuda = whole.is_cuda
        self.whole, self.host = (
            whole,
            torch.empty(len(whole), dtype=torch.uint8, pin_memory=on_cuda),
        )
        self.views = _views(self.host, offsets, like)
        self.sent = torch.cuda.Event() if on_cuda else None

    def send(self, drawn: list[Tensor]) -> None:
        if self.sent is not None and not self.sent.query():
            self.sent.synchronize()
        for view, t in zip(self.views, drawn, strict=True):
            view.copy_(t)
        self.whole.copy_(self.host, non_blocking=True)
        if self.sent is not None:
            self.sent.record()


def _views(whole: Tensor, offsets: list[int], like: list[Tensor]) -> list[Tensor]:
    """Parts of a block of bytes as tensors like those."""
    return [
        whole[offset : offset + t.numel() * t.element_size()].view(t.dtype).view(t.shape)
        for offset, t in zip(offsets, like, strict=True)
    ]

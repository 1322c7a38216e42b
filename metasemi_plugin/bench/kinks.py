"""On which side of its kinks a pass ran, so that a reference in double precision runs on the same.

A net with ReLU, LeakyReLU or max-pooling is put together of smooth pieces, and its derivative jumps
from each to the next. Where a unit lies within rounding of its kink, single and double precision
take different pieces and differ by that jump, however exact the method. What a method computes is
the derivative of the piece that its own pass ran on: the reference is to be taken there.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def sides(model: nn.Module, x: Tensor) -> list[Tensor]:
    """What a pass over x decides at its kinks, in order, on the CPU.

    Returns:
        For a ReLU or LeakyReLU, where its input is above 0: bool, shaped like it. For a 2-D
        max-pooling, the places of the greatest, int64, as `return_indices` has them. Other kinks
        are not recorded.
    """
    with _Recording() as recording:
        model(x)
    return recording.sides


class OnSides(nn.Module):
    """The model on given sides of its kinks, with derivatives of any order.

    Args:
        model: the net.
        sides: `sides` of a pass in another precision, by the number of images in its batch.
    """

    def __init__(self, model: nn.Module, sides: Mapping[int, Sequence[Tensor]]):
        super().__init__()
        self.model, self.sides = model, sides

    def forward(self, x: Tensor):
        """The model's output on x, one of the batches whose sides were given."""
        with _Given(self.sides[len(x)]):
            return self.model(x)


class _Recording(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.sides: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (F.relu, F.leaky_relu, torch.relu):
            self.sides.append((args[0] > 0).cpu())
        elif func is F.max_pool2d:
            where = func(*args, **{**kwargs, "return_indices": True})[1]
            self.sides.append(where.cpu())
        return func(*args, **kwargs)


class _Given(TorchFunctionMode):
    def __init__(self, sides: Sequence[Tensor]) -> None:
        super().__init__()
        self.sides = iter(sides)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (F.relu, torch.relu):
            return self.leaky_relu(*args, negative_slope=0.0, **kwargs)
        if func is F.leaky_relu:
            return self.leaky_relu(*args, **kwargs)
        if func is F.max_pool2d:
            where = next(self.sides)
            return args[0].flatten(2).gather(2, where.flatten(2)).view(where.shape)
        return func(*args, **kwargs)

    def leaky_relu(self, x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
        slope = torch.full_like(x, negative_slope).masked_fill_(next(self.sides), 1)
        return x.mul_(slope) if inplace else x * slope

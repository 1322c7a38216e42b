"""Evaluation by several processes, of which each computes a part of every batch."""

from torch import Tensor

from metasemi_plugin.distributed import collectives


class SharedPasses:
    """A block in which each process's passes are over its part, and their results those of all.

    The model of the algorithm is replaced by this object, which is called in its place: each image
    is computed once, and all processes have the same logits, so that they come to one decision. In
    training mode the model is as it always is.

    Args:
        algorithm: whose ``model`` is meant.
        key: of the model's output that is wanted.
    """

    def __init__(self, algorithm, key: str):
        self._algorithm, self._model, self._key = algorithm, algorithm.model, key

    def __enter__(self) -> None:
        if collectives.world_size() > 1:
            self._algorithm.model = self

    def __exit__(self, *_) -> None:
        self._algorithm.model = self._model

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def __call__(self, x: Tensor, **kwargs) -> dict[str, Tensor]:
        if self._model.training:
            return self._model(x, **kwargs)
        part = collectives.own(len(x))
        length = part.stop - part.start
        # A part may be empty; what one image gives has the shape.
        own = self._model(x[part] if length else x[:1], **kwargs)[self._key]
        whole = own.new_zeros(len(x), *own.shape[1:])
        whole[part] = own[:length]
        collectives.all_reduce_([whole])
        return {self._key: whole}

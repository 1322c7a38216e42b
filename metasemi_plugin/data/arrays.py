"""Images in memory, and the views of them that a batch is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from metasemi_plugin.data import augment
from metasemi_plugin.data.notes import Notes
from metasemi_plugin.data.rows import Rows

KINDS = ("plain", "weak", "rotated")
# (B, H, W, C) of uint8, and the source of all chance -> as many images of the same size.
Augment = Callable[[np.ndarray, torch.Generator], np.ndarray]
Views = Mapping[str, str | Augment]  # key of a batch -> kind of view


class ImageArrays(Dataset):
    """N images in memory, read a whole batch at a time.

    `read` returns exactly the views asked for. A view is a key of the batch and a kind:

    - "plain": normalized only.
    - "weak": randomly translated, and randomly mirrored if `flip`, then normalized.
    - a function, as of a strong view: weak, then that, then normalized.
    - "rotated": the strong view under the key "x_ulb_s_0" of the same batch, which must come
      before it, turned by k quarter turns; k is added to the batch under the key "rot_v".

    Args:
        images: uint8 (N, H, W, C).
        targets: int64 (N,); -1 where the true label is not known.
        mean: the channels' means, in units of 0..1.
        std: the channels' standard deviations, in the same units.
        views: key of the batch -> kind of view, in the order in which they are drawn.
        role: "lb" for batches with labels ("idx_lb", "y_lb"), "ulb" for batches without
            ("idx_ulb").
        translation: by how many pixels weak views move at most, each way.
        flip: whether weak views are mirrored with probability 1/2.
        padding_mode: what moves in at the border, "reflect" or "constant" (black).
        positions: int64 (N,), where the images stand among all images of the data set; None if
            that is not known. Nothing here depends on it: it is for the record of the split.
        notes: for the record of the run.

    Raises:
        ValueError: unknown kind of view, or "rotated" with no strong "x_ulb_s_0" before it.
    """

    def __init__(
        self,
        images: np.ndarray | Rows,
        targets: np.ndarray,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        views: Views,
        role: Literal["lb", "ulb"],
        translation: int,
        flip: bool = True,
        padding_mode: augment.PaddingMode = "reflect",
        positions: np.ndarray | None = None,
        notes: Notes = Notes(),  # noqa: B008
    ) -> None:
        _check_views(views)
        self.images, self.targets = images, targets
        self.mean, self.std = mean, std
        self.views, self.role = views, role
        self.translation, self.flip, self.padding_mode = translation, flip, padding_mode
        self.positions, self.notes = positions, notes

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """The batch at `indices`, all its chance drawn from `generator`.

        Returns:
            "idx_lb" or "idx_ulb" int64 (B,); the views, float32 (B, C, H, W) each; "y_lb" int64
            (B,) for labeled batches; "rot_v" int64 (B,) beside a rotated view.
        """
        positions = np.asarray(indices, dtype=np.int64)
        images = self.images[positions]
        batch = {f"idx_{self.role}": torch.from_numpy(positions.copy())}
        for key, kind in self.views.items():
            if kind == "rotated":
                batch[key], batch["rot_v"] = augment.rotate(batch["x_ulb_s_0"], generator)
            else:
                batch[key] = self._view(kind, images, generator)
        if self.role == "lb":
            batch["y_lb"] = torch.from_numpy(self.targets[positions])
        return batch

    def _view(self, kind: str | Augment, images: np.ndarray, generator: torch.Generator) -> Tensor:
        if kind != "plain":
            images = augment.translate_and_flip(
                images, self.translation, self.flip, self.padding_mode, generator
            )
        if callable(kind):
            images = kind(images, generator)
        return augment.normalize(images, self.mean, self.std)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample, without a batch dimension; see `__getitems__`."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Samples for a DataLoader's ordinary collate function, as evaluation uses them.

        Raises:
            TypeError: some view is random; only `read` is told where chance comes from.
        """
        if any(kind != "plain" for kind in self.views.values()):
            raise TypeError("random views need a generator: use read(indices, generator)")
        batch = self.read(indices, torch.Generator())
        return [{key: value[i] for key, value in batch.items()} for i in range(len(indices))]


def _check_views(views: Views) -> None:
    before: dict[str, str | Augment] = {}
    for key, kind in views.items():
        if not callable(kind) and kind not in KINDS:
            raise ValueError(f"view {key!r} is of unknown kind {kind!r}; kinds: {', '.join(KINDS)}")
        if kind == "rotated" and not callable(before.get("x_ulb_s_0")):
            raise ValueError(f"view {key!r} turns 'x_ulb_s_0', which must be a strong view before")
        before[key] = kind

"""``metasemi_plugin.load``: a trained net that takes images as people have them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metasemi_plugin.data.augment import normalize
from metasemi_plugin.data.class_folders import images_below
from metasemi_plugin.data.decode import GRAY, RGB, as_channels, decode, decode_image
from metasemi_plugin.errors import UserError
from metasemi_plugin.model import folder
from metasemi_plugin.model.net import build

# An image in memory, or where it is.
ImageLike = str | os.PathLike | Image.Image | np.ndarray | Tensor


class Predictions(NamedTuple):
    """Of N images: the class of each, float32 (N, C) on the CPU, and where they are, or ""."""

    classes: list[str]
    probabilities: Tensor
    files: list[str]


class Batch(NamedTuple):
    """Some of the images: their files, (n, C), and what could not be read and why."""

    files: list[str]
    probabilities: Tensor
    unreadable: list[tuple[str, str]]


class Predictor:
    """A trained net with what turns an image into its input.

    Args:
        path: a run folder, or a model folder.
        device: of torch.

    Attributes:
        module: the net, in eval mode; it takes what `transform` makes, (N, C, H, W), and returns
            a dict with "logits".
        classes: their names, in the order of the outputs.
        description: what model.json says.

    Raises:
        UserError: see `folder.read` and `net.build`.
    """

    def __init__(self, path: str | os.PathLike, device: str | torch.device = "cpu"):
        self.description, weights = folder.read(Path(path))
        self.classes = list(self.description.classes)
        self.device = torch.device(device)
        self.module = build(self.description)
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            reason = shorten(str(error).splitlines()[1], 120)
            raise UserError(
                f"{path}: the weights do not fit {self.description.net!r} ({reason})"
            ) from error
        last = self.description.channels_last
        self.format = torch.channels_last if last else torch.contiguous_format
        self.module.to(self.device, memory_format=self.format).eval()  # type: ignore[call-overload]

    def transform(self, image: ImageLike) -> Tensor:
        """One image as the net's input, (C, H, W): resized and normalized as in training."""
        return self.inputs(np.stack([self.pixels(image)]))[0]

    def predict(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 128
    ) -> Predictions:
        """The classes of images.

        Args:
            images: one or several of: a path, a folder (all images below it), a PIL image, an array
                of uint8 (H, W, C) or (H, W), a tensor of uint8 (C, H, W); or one array (N, H, W, C)
                or tensor (N, C, H, W) of them. C is 3, or what the net was trained on.
            batch_size: images a pass.

        Raises:
            UserError: an image cannot be read, or there is none.
        """
        batches = list(self.batches(self._listed(images), batch_size))
        if unreadable := [pair for batch in batches for pair in batch.unreadable]:
            file, why = unreadable[0]
            raise UserError(f"{len(unreadable)} images cannot be read: {file} ({why})")
        if not batches:
            raise UserError("there are no images to predict")
        probabilities = torch.cat([batch.probabilities for batch in batches])
        names = [self.classes[i] for i in probabilities.argmax(1).tolist()]
        return Predictions(names, probabilities, [f for batch in batches for f in batch.files])

    def batches(self, images: Sequence[ImageLike], batch_size: int = 128) -> Iterator[Batch]:
        """The same batch by batch, decoded in threads ahead of the passes; nothing is raised."""
        with ThreadPool() as pool:
            found = pool.imap(self._attempt, images, chunksize=8)
            for start in range(0, len(images), batch_size):
                own = images[start : start + batch_size]
                results = [next(found) for _ in own]
                files = [os.fspath(i) if _is_path(i) else "" for i in own]
                read = {i: pixels for i, (pixels, _) in enumerate(results) if pixels is not None}
                unreadable = [
                    (files[i], why) for i, (pixels, why) in enumerate(results) if pixels is None
                ]
                probabilities = (
                    self._probabilities(np.stack(list(read.values())))
                    if read
                    else torch.zeros(0, len(self.classes))
                )
                yield Batch([files[i] for i in read], probabilities, unreadable)

    def _attempt(self, image: ImageLike) -> tuple[np.ndarray | None, str]:
        try:
            return self.pixels(image), ""
        except Exception as error:  # Pillow's readers raise almost anything on a broken file
            return None, " ".join(str(error).split()) or type(error).__name__

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Of inputs as `transform` makes them, (N, C, H, W): float32 (N, classes) on the CPU."""
        x = x.to(self.device).contiguous(memory_format=self.format)
        return self.module(x)["logits"].float().cpu()

    def _probabilities(self, pixels: np.ndarray) -> Tensor:
        return self.logits(self.inputs(pixels)).softmax(1)

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """Of several such arrays, (N, H, W, C), the net's input, (N, C, H, W)."""
        return normalize(pixels, self.description.mean, self.description.std)

    def pixels(self, image: ImageLike) -> np.ndarray:
        """One image as it was in training, before it is normalized: uint8 (H, W, C)."""
        how = {name: getattr(self.description, name) for name in _DECODED}
        size = self.description.img_size
        if isinstance(image, str | os.PathLike):
            return decode(os.fspath(image), size, **how)
        if how["channels"] in (GRAY, RGB):
            return decode_image(_as_pil(image), size, **how)
        return decode_image(as_channels(_as_array(image), how["channels"]), size, **how)

    def _listed(self, images) -> Sequence[ImageLike]:
        channels = self.description.channels
        if _is_path(images):
            return files_of([images], channels)
        if isinstance(images, Image.Image):
            return [images]
        if isinstance(images, np.ndarray | Tensor):
            return list(images) if images.ndim == 4 else [images]
        return [
            one
            for image in images
            for one in (files_of([image], channels) if _is_path(image) else [image])
        ]


_DECODED = ("resize", "ranges", "channels")


def files_of(paths: Iterable[str | os.PathLike], channels: int = RGB) -> list[str]:
    """The files, and all image files of so many channels below the folders, in a fixed order.

    Raises:
        UserError: one is not there, or a folder has no images.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += images_below(path, channels)
        elif path.exists():
            found.append(str(path))
        else:
            raise UserError(f"{path} is not there: expected an image, or a folder of images")
    return found


def _is_path(image: object) -> TypeGuard[str | os.PathLike]:
    return isinstance(image, str | os.PathLike)


def _as_pil(image: Image.Image | np.ndarray | Tensor) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    image = _as_array(image)
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise UserError(f"an image of {image.shape[2]} channels: expected (H, W, 3) or (H, W)")
    return Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)


def _as_array(image: Image.Image | np.ndarray | Tensor) -> np.ndarray:
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).cpu().numpy() if image.ndim == 3 else image.cpu().numpy()
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise UserError(f"an array of {array.dtype} is no image: expected uint8 in 0..255")
    return array


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> Predictor:
    """The model of a run folder or model folder; see `Predictor`."""
    return Predictor(path, device)

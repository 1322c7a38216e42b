"""MedMNIST (Yang et al., "MedMNIST v2", Scientific Data 2023): its flat images of one label each.

A file of the package `medmnist` holds a whole data set; it is read from data_dir as it is. The
package itself is only needed to download it: pip install metasemi-plugin[medmnist].
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.data.torchvision_files import folder_for, one_at_a_time
from metasemi_plugin.errors import UserError

SIZES = (28, 64, 128, 224)
PARTS = ("train", "val", "test")


class Kind(NamedTuple):
    """The classes, the channels, and whether a mirror image is of the same class."""

    classes: tuple[str, ...]
    channels: int
    flip: bool = True


# As in the package's INFO.
_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip
KINDS = {
    "bloodmnist": Kind((
        "basophil", "eosinophil", "erythroblast",
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte",
        "monocyte", "neutrophil", "platelet",
    ), 3),
    "breastmnist": Kind(("malignant", "normal, benign"), 1),
    "dermamnist": Kind((
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
        "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
        "vascular lesions",
    ), 3),
    "octmnist": Kind((
        "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
    ), 1),
    "organamnist": Kind(_ORGANS, 1, flip=False),
    "organcmnist": Kind(_ORGANS, 1, flip=False),
    "organsmnist": Kind(_ORGANS, 1, flip=False),
    "pathmnist": Kind((
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
        "normal colon mucosa", "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ), 3),
    "pneumoniamnist": Kind(("normal", "pneumonia"), 1),
    "retinamnist": Kind(("0", "1", "2", "3", "4"), 3),
    "tissuemnist": Kind((
        "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule",
        "Glomerular endothelial cells", "Interstitial endothelial cells", "Leukocytes",
        "Podocytes", "Proximal Tubule Segments", "Thick Ascending Limb",
    ), 1),
}  # fmt: skip


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """A data set with the validation and test images that it comes with; gray ones as RGB, or gray.

    Read from data_dir/NAME.npz (28x28 pixels) or data_dir/NAME_SIZE.npz, where the package has them
    in its root. Weak views move by as large a part of the image as MNIST's here, over the mirrored
    border, and are mirrored but for the organs, which are left or right.

    Raises:
        UserError: the file is missing or is not MedMNIST's, or does not fit the options; see
            `make_splits`.
    """
    kind = KINDS[args.dataset]
    size = "" if args.img_size == SIZES[0] else f"_{args.img_size}"
    file = folder_for(args, *SIZES).parent / f"{args.dataset}{size}.npz"
    if not file.exists():
        _download(file, args.dataset, args.img_size)
    train, val, test = _read(file, kind, args.img_size, args.channels)
    return make_splits(
        args,
        ulb_views,
        train=train,
        val=val,
        test=test,
        class_names=list(kind.classes),
        flip=kind.flip,
        translation=args.img_size // 14,
    )


def _read(file: Path, kind: Kind, size: int, channels: int) -> list[Images]:
    """The three parts: images uint8 (N, size, size, channels) and targets int64 (N,)."""
    shape = (size, size) if kind.channels == 1 else (size, size, 3)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            parts = [(arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in PARTS]
        for pixels, labels in parts:
            known = range(len(kind.classes))
            fits = pixels.shape == (len(labels), *shape) and labels.shape == (len(labels), 1)
            if pixels.dtype != np.uint8 or not fits or not np.isin(labels, known).all():
                raise ValueError(f"images {pixels.dtype} {pixels.shape}, labels {labels.shape}")
    except Exception as error:  # a foreign file can fail in any way
        why = " ".join(str(error).split())
        raise UserError(
            f"{file}: not MedMNIST's file of that name ({why}): delete it, so that it is "
            "downloaded again"
        ) from error
    return [
        Images(
            pixels if kind.channels == 3 else np.repeat(pixels[..., None], channels, axis=3),
            labels[:, 0].astype(np.int64),
        )
        for pixels, labels in parts
    ]


def _download(file: Path, dataset: str, size: int) -> None:
    remedy = f"put {file.name} of https://medmnist.com into {file.parent}"
    try:
        import medmnist
    except ImportError as error:
        raise UserError(
            f"data_dir: {file} is not there: {remedy}, or pip install metasemi-plugin[medmnist] to "
            "have it downloaded"
        ) from error
    data_set = getattr(medmnist, medmnist.INFO[dataset]["python_class"])
    try:
        with one_at_a_time(file.parent):
            data_set(split="val", download=True, root=str(file.parent), size=size)
    except Exception as error:  # the package raises RuntimeError for all that may fail
        raise UserError(
            f"data_dir: {file} is not there and could not be downloaded: {remedy}"
        ) from error

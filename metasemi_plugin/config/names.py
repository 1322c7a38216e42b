"""What the options ``net`` and ``dataset`` name, and a line on each; tests compare them."""

import sys
from collections.abc import Iterable

from metasemi_plugin.config.resolve import Problems
from metasemi_plugin.config.values import unknown

_MED = "in the format of the package medmnist; 28x28 to 224x224"
_MNIST = "28x28 gray, by torchvision; MNIST's format"
DATASETS = {
    "bloodmnist": f"cells of the blood, {_MED}",
    "breastmnist": f"breast ultrasound, {_MED}",
    "cifar10": "semilearn's; downloaded, or from cifar-10-python.tar.gz",
    "cifar100": "semilearn's; downloaded, or from cifar-100-python.tar.gz",
    "dermamnist": f"skin lesions, {_MED}",
    "digits": "the 1,797 handwritten digits that come with scikit-learn: nothing to download",
    "emnist": f"letters and digits (balanced), {_MNIST}",
    "fashion_mnist": f"clothes, {_MNIST}",
    "image_folder": "your own images: one folder a class",
    "kmnist": f"Japanese characters, {_MNIST}",
    "mnist": f"digits, {_MNIST}",
    "octmnist": f"retinal OCT, {_MED}",
    "organamnist": f"organs, axial CT, {_MED}",
    "organcmnist": f"organs, coronal CT, {_MED}",
    "organsmnist": f"organs, sagittal CT, {_MED}",
    "pathmnist": f"tissue of the colon, {_MED}",
    "pneumoniamnist": f"chest X-rays, {_MED}",
    "retinamnist": f"fundus photographs, {_MED}",
    "stl10": "semilearn's; downloaded, or from stl10_binary.tar.gz",
    "svhn": "semilearn's; downloaded, or from train_32x32.mat, test_32x32.mat, extra_32x32.mat",
    "tissuemnist": f"cells of the kidney, {_MED}",
}
BACKBONES = {
    **dict.fromkeys(("cnn13", "cnn13_slim"), "metasemi_plugin"),
    **dict.fromkeys(
        (
            "resnet50", "vit_base_patch16_224", "vit_base_patch16_96", "vit_small_patch16_224",
            "vit_small_patch2_32", "vit_tiny_patch2_32", "wrn_28_2", "wrn_28_8", "wrn_var_37_2",
        ),
        "semilearn",
    ),
}  # fmt: skip


def no_dataset(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of those known."""
    if name == "chestmnist":
        return "chestmnist has several labels an image, and here an image has one"
    if name.endswith("mnist3d"):
        return f"{name} has volumes, and here images are flat"
    return unknown(name, known)


def more_are_known() -> bool:
    """Whether semilearn has been imported: names may have been added to those here."""
    return "semilearn" in sys.modules


def wrong_names(v: dict) -> Problems:
    """Names that nothing has which comes with this package."""
    if v["dataset"] not in DATASETS:
        yield "dataset", no_dataset(v["dataset"], DATASETS)
    if not v["net"].startswith("timm/") and ":" not in v["net"] and v["net"] not in BACKBONES:
        yield "net", f"{unknown(v['net'], BACKBONES)} (or timm/NAME, or module:function)"

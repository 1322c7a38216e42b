import pytest
import torch
from transcription import B, C, U

from metasemi_plugin.host.streams import collated


@pytest.fixture
def batch():
    """What train_step of an algorithm with one weak view is given, in float64."""
    torch.manual_seed(11)
    x_lb, x_ulb_w = torch.randn(B, 3, 16, 16).double(), torch.randn(U, 3, 16, 16).double()
    return {"x_lb": x_lb, "y_lb": torch.arange(B) % C, "x_ulb_w": x_ulb_w}


@pytest.fixture
def first_batch():
    """first_batch(algorithm): its first batch, the same whenever it is asked for."""

    def first_batch(algorithm):
        """The same images for each step, so that Temporal Ensembling has seen them before."""
        parts = [
            collated(algorithm.loader_dict[part].dataset.__getitems__(list(range(size))))
            for part, size in (("train_lb", 6), ("train_ulb", 18))
        ]
        return algorithm.process_batch(**parts[0], **parts[1])

    return first_batch

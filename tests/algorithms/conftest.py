import pytest
import torch
from transcription import B, C, U


@pytest.fixture
def batch():
    """What train_step of an algorithm with one weak view is given, in float64."""
    torch.manual_seed(11)
    x_lb, x_ulb_w = torch.randn(B, 3, 16, 16).double(), torch.randn(U, 3, 16, 16).double()
    return {"x_lb": x_lb, "y_lb": torch.arange(B) % C, "x_ulb_w": x_ulb_w}

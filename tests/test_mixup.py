import pytest
import torch

from metasemi_plugin.mixup import mix, mixup


def test_mix_on_hand_values():
    x = torch.tensor([[[0.0]], [[10.0]], [[20.0]]])
    y = torch.eye(3)
    mixed = mix(x, y, 0.75, torch.tensor([1, 2, 0]))
    assert mixed.x.flatten().tolist() == [2.5, 12.5, 15.0]
    assert mixed.y.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]


@pytest.mark.parametrize(("lam", "dominant"), [(0.75, [0, 1, 2]), (0.25, [1, 2, 0])])
def test_dominant_is_the_sample_with_the_larger_part(lam, dominant):
    mixed = mix(torch.zeros(3, 1), torch.eye(3), lam, torch.tensor([1, 2, 0]))
    assert mixed.dominant.tolist() == dominant
    assert mixed.y.argmax(dim=1).tolist() == dominant


def test_mixup_is_mix_with_the_lambda_and_partners_it_reports():
    x, y = torch.rand(6, 3, 2, 2), torch.rand(6, 4)
    mixed = mixup(x, y, 0.5)
    again = mix(x, y, mixed.lam, mixed.partner)
    assert torch.equal(mixed.x, again.x)
    assert torch.equal(mixed.y, again.y)
    assert sorted(mixed.partner.tolist()) == list(range(6))


def test_lambda_follows_beta_beta():
    """Mean 1/2 and variance 1 / (4 (2 beta + 1)); the average of 2000 draws, within 5 sigma."""
    for beta in (0.2, 1.0):
        lam = torch.tensor(
            [mixup(torch.zeros(1, 1), torch.ones(1, 1), beta).lam for _ in range(2000)]
        )
        variance = 1 / (4 * (2 * beta + 1))
        assert abs(lam.mean().item() - 0.5) < 5 * (variance / 2000) ** 0.5
        assert abs(lam.var().item() - variance) < 0.02


def test_random_numbers_are_torchs_alone():
    torch.manual_seed(3)
    first = mixup(torch.rand(5, 2), torch.rand(5, 2), 0.7)
    torch.manual_seed(3)
    second = mixup(torch.rand(5, 2), torch.rand(5, 2), 0.7)
    assert first.lam == second.lam
    assert torch.equal(first.partner, second.partner)

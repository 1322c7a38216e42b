import pytest
import torch

from metasemi_plugin.config.options import OPTIONS
from metasemi_plugin.distributed import collectives
from metasemi_plugin.mixup import mix, mixup, unmixed


@pytest.fixture
def as_rank(monkeypatch):
    """as_rank(number, *whole): what follows is one of two processes that have these together."""

    def as_rank(number, *whole):
        def gathered(t, *lengths):
            own = collectives.places(*lengths)
            (found,) = [w for w in whole if w.shape[1:] == t.shape[1:] and torch.equal(w[own], t)]
            return found

        monkeypatch.setattr(collectives, "world_size", lambda: 2)
        monkeypatch.setattr(collectives, "rank", lambda: number)
        monkeypatch.setattr(collectives, "all_gather", gathered)

    return as_rank


def drawn(x, y, *options):
    torch.manual_seed(3)
    return mixup(x, y, 0.5, *options)


def test_mix_on_hand_values():
    x = torch.tensor([[[0.0]], [[10.0]], [[20.0]]])
    y = torch.eye(3)
    mixed = mix(x, y, 0.75, torch.tensor([1, 2, 0]))
    assert mixed.x.flatten().tolist() == [2.5, 12.5, 15.0]
    assert mixed.y.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]


@pytest.mark.parametrize(
    ("lam", "dominant"), [(0.75, [0, 1, 2]), (0.5, [0, 1, 2]), (0.25, [1, 2, 0])]
)
def test_dominant_is_the_sample_with_the_larger_part(lam, dominant):
    mixed = mix(torch.zeros(3, 1), torch.eye(3), lam, torch.tensor([1, 2, 0]))
    assert mixed.dominant.tolist() == dominant
    if lam != 0.5:
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


X, Y = torch.rand(10, 3, 2), torch.rand(10, 4)


@pytest.mark.parametrize(
    ("parts", "own"), [((2, 3), ([0, 1, 4, 5, 6], [2, 3, 7, 8, 9])), ((), (range(5), range(5, 10)))]
)
def test_each_process_has_its_part_of_the_batch_mixed_as_one_would(as_rank, parts, own):
    whole = drawn(X, Y)
    assert whole.partner.tolist() != list(range(10))
    for number in (0, 1):
        as_rank(number, X, Y)
        mine = torch.tensor(list(own[number]))
        part = drawn(X[mine], Y[mine], "batch", parts)
        assert torch.equal(part.x, whole.x[mine])
        assert torch.equal(part.y, whole.y[mine])
        assert part.lam == whole.lam
        assert torch.equal(part.partner, whole.partner[mine])
        assert torch.equal(part.own, mine)
        for lam in (0.3, 0.7):
            dominant = part._replace(lam=torch.tensor(lam)).dominant
            assert torch.equal(dominant, whole._replace(lam=torch.tensor(lam)).dominant[mine])


def test_the_batch_of_all_processes_is_the_default(as_rank):
    as_rank(1, X, Y)
    mine = X[5:], Y[5:]
    assert torch.equal(drawn(*mine).partner, drawn(*mine, "batch").partner)
    assert not torch.equal(drawn(*mine).partner, drawn(*mine, "rank").partner)
    assert OPTIONS["mixup_partners"].default == "batch"


@pytest.mark.parametrize("parts", [(2, 3), ()])
def test_partners_of_the_same_process(as_rank, parts):
    as_rank(1, X, Y)
    own = collectives.places(*(parts or (5,)))
    part = drawn(X[own], Y[own], "rank", parts)
    assert sorted(part.partner.tolist()) == own.tolist() != part.partner.tolist()
    assert torch.equal(part.own, own)
    torch.testing.assert_close(part.x, part.lam * X[own] + (1 - part.lam) * X[part.partner])
    torch.testing.assert_close(part.y, part.lam * Y[own] + (1 - part.lam) * Y[part.partner])


@pytest.mark.parametrize("parts", [(2, 3), ()])
def test_a_batch_that_is_not_mixed(as_rank, parts):
    assert torch.equal(unmixed(X, Y).partner, torch.arange(10))
    as_rank(1, X, Y)
    own = collectives.places(*(parts or (5,)))
    whole = unmixed(X[own], Y[own], parts)
    assert torch.equal(whole.x, X[own])
    assert torch.equal(whole.y, Y[own])
    assert whole.lam == 1
    for index in (whole.own, whole.partner, whole.dominant):
        assert torch.equal(index, own)


def test_indices_are_where_the_batch_is(as_rank, monkeypatch):
    """On a device that has shapes alone."""
    x, y = X.to("meta"), Y.to("meta")
    found = [mixup(x, y, 0.5), unmixed(x, y), mix(x, y, 0.5, torch.arange(10, device="meta"))]
    as_rank(0)
    monkeypatch.setattr(collectives, "all_gather", lambda t, *lengths: torch.cat([t, t]))
    found += [mixup(x, y, 0.5, partners) for partners in OPTIONS["mixup_partners"].allowed]
    for mixed in found:
        assert (mixed.partner.device, mixed.own.device) == (x.device, x.device)

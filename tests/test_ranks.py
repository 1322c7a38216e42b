import torch
from processes import on_ranks

from metasemi_plugin import ranks


def _numbers():
    a, b = torch.tensor([1.0, 2.0]) * (ranks.number() + 1), torch.tensor(3, dtype=torch.int64)
    ranks.sum_([a, b])
    c = torch.tensor([float(ranks.number())])
    ranks.mean_([c])
    return ranks.count(), ranks.number(), a.tolist(), b.item(), c.item()


def test_sums_and_means_over_the_ranks():
    assert on_ranks(2, _numbers) == [(2, 0, [3, 6], 6, 0.5), (2, 1, [3, 6], 6, 0.5)]


def _loss_on_pairs():
    """Gradients of a loss that pairs samples of different ranks; x is 1, 2 and 3, 4."""
    w = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([1.0, 2.0]) + 2 * ranks.number()
    y = ranks.gathered(w * x)
    (y[0] * y[3] + y[1] * y[2]).backward()
    ranks.mean_([w.grad])
    return y.tolist(), w.grad.item()


def test_the_gradient_of_a_gathered_loss_is_the_mean_of_the_ranks_gradients():
    for values, gradient in on_ranks(2, _loss_on_pairs):
        assert values == [2, 4, 6, 8]
        assert gradient == 2 * 2 * (1 * 4 + 2 * 3)  # d/dw of w^2 (x_0 x_3 + x_1 x_2)


def _one_batch_of_two():
    """Labelled samples 0 to 3, unlabelled ones 10 to 15, of which each rank has its part."""
    whole = [torch.arange(4), torch.arange(10, 16)]
    mine = torch.cat([t[ranks.own(len(t))] for t in whole])
    assert torch.equal(ranks.gathered(mine, 2, 3), torch.cat(whole))
    assert torch.equal(torch.cat(whole)[ranks.places(2, 3)], mine)
    first = torch.tensor([ranks.number() + 5.0])
    ranks.first_([first])
    with ranks.alone():
        alone = ranks.count(), ranks.number(), ranks.own(3)
    return mine.tolist(), first.item(), alone


def test_what_is_gathered_has_the_order_of_one_process():
    one, other = on_ranks(2, _one_batch_of_two)
    assert one == ([0, 1, 10, 11, 12], 5, (1, 0, slice(0, 3)))
    assert other == ([2, 3, 13, 14, 15], 5, (1, 0, slice(0, 3)))


def test_one_process_is_left_alone():
    t = torch.tensor([1.0], requires_grad=True)
    assert (ranks.count(), ranks.number()) == (1, 0)
    assert ranks.gathered(t) is t
    ranks.sum_([t.data])
    ranks.mean_([t.data])
    assert t.item() == 1

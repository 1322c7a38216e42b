import torch
from processes import on_ranks

from metasemi_plugin.distributed import collectives


def _numbers():
    a, b = torch.tensor([1.0, 2.0]) * (collectives.rank() + 1), torch.tensor(3, dtype=torch.int64)
    collectives.all_reduce_([a, b])
    c = torch.tensor([float(collectives.rank())])
    collectives.all_reduce_mean_([c])
    return collectives.world_size(), collectives.rank(), a.tolist(), b.item(), c.item()


def test_sums_and_means_over_the_ranks():
    assert on_ranks(2, _numbers) == [(2, 0, [3, 6], 6, 0.5), (2, 1, [3, 6], 6, 0.5)]


def _loss_on_pairs():
    """Gradients of a loss that pairs samples of different ranks; x is 1, 2 and 3, 4."""
    w = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([1.0, 2.0]) + 2 * collectives.rank()
    y = collectives.all_gather(w * x)
    (y[0] * y[3] + y[1] * y[2]).backward()
    collectives.all_reduce_mean_([w.grad])
    return y.tolist(), w.grad.item()


def test_the_gradient_of_a_gathered_loss_is_the_mean_of_the_ranks_gradients():
    for values, gradient in on_ranks(2, _loss_on_pairs):
        assert values == [2, 4, 6, 8]
        assert gradient == 2 * 2 * (1 * 4 + 2 * 3)  # d/dw of w^2 (x_0 x_3 + x_1 x_2)


def _one_batch_of_two():
    """Labeled samples 0 to 3, unlabeled ones 10 to 15, of which each rank has its part."""
    whole = [torch.arange(4), torch.arange(10, 16)]
    mine = torch.cat([t[collectives.own(len(t))] for t in whole])
    assert torch.equal(collectives.all_gather(mine, 2, 3), torch.cat(whole))
    assert torch.equal(torch.cat(whole)[collectives.places(2, 3)], mine)
    first = torch.tensor([collectives.rank() + 5.0])
    collectives.broadcast_([first])
    with collectives.alone():
        alone = collectives.world_size(), collectives.rank(), collectives.own(3)
    return mine.tolist(), first.item(), alone


def test_what_is_gathered_has_the_order_of_one_process():
    one, other = on_ranks(2, _one_batch_of_two)
    assert one == ([0, 1, 10, 11, 12], 5, (1, 0, slice(0, 3)))
    assert other == ([2, 3, 13, 14, 15], 5, (1, 0, slice(0, 3)))


def test_one_process_is_left_alone():
    t = torch.tensor([1.0], requires_grad=True)
    assert (collectives.world_size(), collectives.rank()) == (1, 0)
    assert collectives.all_gather(t) is t
    collectives.all_reduce_([t.data])
    collectives.all_reduce_mean_([t.data])
    assert t.item() == 1

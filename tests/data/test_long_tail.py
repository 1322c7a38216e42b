import numpy as np
import pytest
from semilearn.datasets.utils import make_imbalance_data

from metasemi_plugin.data.long_tail import class_sizes, draw
from metasemi_plugin.errors import UserError


@pytest.mark.parametrize("ratio", [2, 10, 100, 150, -100, 7])
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_sizes_are_those_of_usb(ratio, classes):
    for number in (1, 40, 500, 1500, 5000):
        assert class_sizes(number, classes, ratio) == make_imbalance_data(number, classes, ratio)


def test_sizes_by_hand():
    assert class_sizes(12, 4, 1) == [3, 3, 3, 3]
    assert class_sizes(8, 4, 8) == [8, 4, 2, 1]
    assert class_sizes(8, 4, -8) == [1, 2, 4, 8]
    assert class_sizes(8, 1, 4) == [2]


TARGETS = np.array([0, 1, 2, -1] * 10)


def drawn(sizes):
    return draw(TARGETS, sizes, np.random.default_rng(0), "num_labels 5")


def test_so_many_of_each_class_are_drawn_and_fewer_are_part_of_more():
    more, fewer = drawn([5, 3, 0]), drawn([4, 1, 0])
    assert np.bincount(TARGETS[more]).tolist() == [5, 3]
    assert more.tolist() == sorted(more)
    assert set(fewer) < set(more)


def test_a_class_too_small_is_named():
    assert len(drawn([10, 0, 0])) == 10
    with pytest.raises(UserError, match=r"class 1 has 10 .* num_labels 5 asks .* lower num_labels"):
        drawn([10, 11, 0])

import pickle

import numpy as np
import pytest

from metasemi_plugin.data.rows import Rows, blocks

FIRST, SECOND = np.arange(12).reshape(6, 2), np.arange(100, 108).reshape(4, 2)
BOTH = np.concatenate([FIRST, SECOND])


@pytest.mark.parametrize(
    "key",
    [slice(None), slice(4, 8), slice(1, 3), np.array([7, 0, 7]), np.array([9, 6]), np.arange(0)],
)
def test_rows_are_those_of_the_arrays_together(key):
    rows = Rows([FIRST, FIRST[:0], SECOND])
    np.testing.assert_array_equal(rows[key], BOTH[key])
    assert rows[key].dtype == FIRST.dtype


def test_rows_of_rows():
    rows = Rows([FIRST, SECOND]).at(np.array([9, 1, 5])).at(np.array([2, 0]))
    np.testing.assert_array_equal(rows[:], BOTH[[5, 9]])
    assert (len(rows), rows.shape, rows.dtype) == (2, (2, 2), FIRST.dtype)


def test_nothing_is_copied_before_it_is_read():
    rows = Rows([FIRST, SECOND]).at(np.arange(5))
    assert rows.arrays[0] is FIRST


def test_another_process_gets_the_rows_alone():
    sent = pickle.loads(pickle.dumps(Rows([FIRST, SECOND]).at(np.array([9, 1]))))
    np.testing.assert_array_equal(sent[:], BOTH[[9, 1]])
    assert [len(array) for array in sent.arrays] == [2]


@pytest.mark.parametrize(
    ("size", "lengths"), [(32, [2, 2, 2, 2, 2]), (50, [3, 3, 3, 1]), (1, [1] * 10)]
)
@pytest.mark.parametrize("array", [BOTH, Rows([FIRST, SECOND])])
def test_blocks_are_all_rows_some_bytes_at_a_time(array, size, lengths):
    read = list(blocks(array, size))
    assert [len(block) for block in read] == lengths
    np.testing.assert_array_equal(np.concatenate(read), BOTH)

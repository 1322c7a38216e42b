"""What an iteration takes from the host, with and without a tape."""

import pytest
import torch

from metasemi_plugin.step_inputs import Tape, from_host

CPU = torch.device("cpu")


def iteration(scale):
    """A step that takes a permutation, a number and some bytes."""
    order = from_host(lambda: torch.randperm(5), CPU)
    number = from_host(lambda: float(scale[0]), CPU, torch.float64)
    image = from_host(lambda: torch.full((3, 2), scale[0], dtype=torch.uint8), CPU)
    return order, number, image


def drawn(scale, count):
    torch.manual_seed(1)
    found = []
    for scale[0] in range(count):
        found.append([t.clone() for t in iteration(scale)])
    return found


def test_a_tape_gives_what_would_have_been_drawn():
    scale = [0]
    expected = drawn(scale, 9)
    assert expected[0][0].tolist() != expected[1][0].tolist()
    tape = Tape(CPU)
    torch.manual_seed(1)
    scale[0] = 0
    with tape.recording():
        found = [[t.clone() for t in iteration(scale)]]
    with tape.replaying():
        places = iteration(scale)
    for scale[0] in range(1, 9):
        tape.draw()
        found.append([t.clone() for t in places])
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_nothing_is_drawn_while_places_are_taken():
    tape = Tape(CPU)
    with tape.recording():
        iteration([1])
    before = torch.get_rng_state()
    with tape.replaying():
        iteration([1])
    assert torch.equal(torch.get_rng_state(), before)


def test_other_numbers_than_the_recorded_are_an_error():
    tape = Tape(CPU)
    with tape.recording():
        iteration([1])
    for times, message in ((2, "takes more numbers"), (0, "takes other numbers")):
        with pytest.raises(RuntimeError, match=message), tape.replaying():
            [iteration([1]) for _ in range(times)]


def test_a_number_may_join_later():
    tape, it = Tape(CPU), [3]
    with tape.recording():
        iteration([1])
    with tape.replaying():
        iteration([1])
        number = tape.number(lambda: it[0] / 4)
    for it[0] in (5, 6):
        tape.draw()
        assert number.item() == it[0] / 4

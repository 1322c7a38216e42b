"""A captured step computes what an eager one does: here without a GPU, operation by operation."""

import random

import numpy as np
import pytest
import torch
from torture import unequal

import metasemi_plugin
from metasemi_plugin import random_numbers, train
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.host import captured
from metasemi_plugin.host.captured import Iteration, Step, why_not
from metasemi_plugin.run_folder import checkpoint
from metasemi_plugin.step_inputs import Tape

OURS = [n for n, algorithm in ALGORITHMS.items() if algorithm.origin == metasemi_plugin.__name__]
OURS.remove("fast_swa")  # has semilearn's ramp, whose numbers join the tape with the capture
VARIANTS = [
    ("metasemi", {"consistency": term}) for term in ("ict", "meanteacher", "pimodel", "vat")
]
VARIANTS += [("metasemi_mask_trial", {"mask_labels": 9, "mask_start": 0.5})]
VARIANTS += [("ict", {"ema_warmup": True})]


class FromTape(Step):
    """Computes each iteration from what a tape holds, as the capture and its replays do."""

    def __call__(self, batch):
        self.batch = batch
        algorithm = self.algorithm
        if not self.tape.recorded:
            with self.tape.recording():
                self.compute()
            return
        self.tape.draw()
        before, it = random_numbers.state(), algorithm.it
        algorithm.it = Iteration(algorithm, self.tape)  # which nothing but a ramp may read
        addresses = [t.data_ptr() for t in tensors(algorithm)]
        with self.tape.replaying():
            self.compute()
        algorithm.it = it
        assert not captured.host_drew(before)
        assert [t.data_ptr() for t in tensors(algorithm)] == addresses


def tensors(algorithm):
    """What a graph has the addresses of."""
    found = [*algorithm.model.parameters(), *algorithm.model.buffers()]
    found += [*algorithm.ema.shadow.values(), *algorithm.ema.statistics.values()]
    found += [t for state in algorithm.optimizer.state.values() for t in state.values()]
    return found + [t for t in vars(algorithm).values() if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize(("name", "changes"), [*((name, {}) for name in OURS), *VARIANTS])
def test_a_step_takes_all_from_the_tape(tiny_run, tmp_path, monkeypatch, name, changes):
    saved = {}
    for step in (Step, FromTape):
        monkeypatch.setattr(captured, "Step", step)
        options = {"num_train_iter": 12, "num_eval_iter": 12, **changes}
        train(**tiny_run(name, save_name=step.__name__, **options))
        saved[step] = checkpoint.verified(tmp_path / step.__name__ / checkpoint.LATEST)[1]
    for key in ("model", "ema_model", "optimizer", "history"):
        assert unequal(saved[Step][key], saved[FromTape][key], key) == ""
    for generator in ("torch", "numpy"):
        one, other = (saved[step]["random"][generator] for step in (Step, FromTape))
        assert unequal(one, other, generator) == ""


def test_the_iteration_is_read_as_the_hosts_linear_ramp_and_no_other_way(build):
    algorithm = build("meanteacher")
    tape = Tape(torch.device("cpu"))
    with tape.recording():
        pass
    it = Iteration(algorithm, tape)
    ramp = np.clip(it / 8, a_min=0.0, a_max=1.0)
    for algorithm.it, expected in ((2, 0.25), (6, 0.75), (9, 1.0)):
        tape.draw()
        assert ramp.item() == expected
    for read in (lambda: it > 3, lambda: it + 1, lambda: 8 / it, lambda: float(it)):
        with pytest.raises(TypeError):
            read()


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(())])
def test_a_single_number_that_the_host_draws_is_seen(draw):
    before = random_numbers.state()
    assert not captured.host_drew(before)
    draw()
    assert captured.host_drew(before)


def test_the_cpu_has_nothing_to_capture(build):
    assert why_not(build()) == "there is nothing to capture on a device that is no CUDA GPU"
    assert why_not(build(compile="off")) == "compile is off"

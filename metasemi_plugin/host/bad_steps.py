"""Steps whose loss or gradients are not finite: undone, counted, and too many of them end a run."""

import warnings
from collections.abc import Iterable
from numbers import Real

import torch
from semilearn.core.hooks import ParamUpdateHook
from torch import Tensor

from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError

REMEDY = "Lower lr, or use amp_dtype bfloat16 if this is float16"


class UpdateHook(ParamUpdateHook):
    """In place of the host's ParamUpdateHook: the same step, unless its numbers are bad.

    A bad step leaves no trace but the count, the schedule and the random numbers that it drew:
    neither parameters nor BatchNorm's statistics nor what the algorithm keeps (thresholds, queues,
    ensembles) have moved. TeacherHook leaves the average alone then, too. Costs one
    synchronisation with the GPU a step.

    What float16's loss scaling skips in search of its scale is no bad step.

    Here the processes of a run come together, in one message a step: gradients and what is logged
    are averaged, so that what is bad on one is bad on all, and all stop if one is asked to.
    """

    def before_run(self, algorithm):
        self.buffers = None

    def find_buffers(self, algorithm):
        buffers = [*algorithm.model.buffers(), *algorithm.ema.statistics.values()]
        # Of one type each, so that a few kernels copy them all.
        by_type = {b.dtype: [o for o in buffers if o.dtype == b.dtype] for b in buffers}
        self.buffers = [(group, [b.clone() for b in group]) for group in by_type.values()]

    def before_train_step(self, algorithm):
        super().before_train_step(algorithm)
        if self.buffers is None:  # before_run is too early: there is no teacher yet
            self.find_buffers(algorithm)
        for group, kept in self.buffers:
            torch._foreach_copy_(kept, group)
        self.kept = [
            (owner, name, value, None if value is None else value.clone())
            for owner in (vars(algorithm), *map(vars, algorithm.hooks_dict.values()))
            for name, value in owner.items()
            if value is None or isinstance(value, Tensor)
        ]

    def after_train_step(self, algorithm):
        scaler = algorithm.loss_scaler
        scaler.scale(algorithm.out_dict["loss"]).backward()
        self.agree(algorithm)
        loss = algorithm.out_dict["loss"]
        scaler.unscale_(algorithm.optimizer)
        if algorithm.clip_grad > 0:
            norm = torch.nn.utils.clip_grad_norm_(algorithm.model.parameters(), algorithm.clip_grad)
        else:
            norm = gradient_norm(algorithm.model.parameters(), loss)
        state = algorithm.run_state
        state.bad = not bool((norm + loss.detach()).isfinite())
        if state.bad and scaler.is_enabled():
            state.bad = scaler.get_scale() <= 1 or not bool(loss.isfinite())
        if not state.bad:
            scaler.step(algorithm.optimizer)
        scaler.update()
        with warnings.catch_warnings():
            # The schedule goes on where the very first step was bad.
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler.step\(\)`")
            algorithm.scheduler.step()
        algorithm.model.zero_grad()
        self.count(algorithm)

    def agree(self, algorithm) -> None:
        """Make gradients, loss, what is logged and whether to stop those of all processes."""
        state = algorithm.run_state
        state.stopping = state.stop_requested
        if collectives.world_size() == 1:
            return
        logs = {k: v for k, v in algorithm.log_dict.items() if isinstance(v, Real)}
        loss = algorithm.out_dict["loss"].detach().clone()
        numbers = loss.new_tensor([state.stop_requested, *logs.values()])
        gradients = [p.grad for p in algorithm.model.parameters() if p.grad is not None]
        collectives.all_reduce_mean_([*gradients, loss, numbers])
        stopping, *means = numbers.tolist()
        state.stopping = stopping > 0
        algorithm.log_dict.update(zip(logs, means, strict=True))
        algorithm.out_dict["loss"] = loss

    def count(self, algorithm) -> None:
        """Undo a bad step, and stop after too many.

        Raises:
            UserError: too many.
        """
        state = algorithm.run_state
        if not state.bad:
            state.bad_in_a_row = 0
            return
        for group, kept in self.buffers:
            torch._foreach_copy_(group, kept)
        for owner, name, value, clone in self.kept:
            if clone is not None:
                value.copy_(clone)
            owner[name] = value
        state.bad_steps += 1
        state.bad_in_a_row += 1
        if state.bad_in_a_row >= algorithm.args.max_bad_steps:
            raise diverged(algorithm, f"for {state.bad_in_a_row} steps in a row")


def gradient_norm(parameters: Iterable[Tensor], like: Tensor) -> Tensor:
    """The sum of the norms of all gradients, 0 if there are none: finite if each gradient is."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return sum(torch._foreach_norm(gradients), torch.zeros_like(like.detach()))


def diverged(algorithm, what: str) -> UserError:
    """What to say of a run that computes nothing but NaN."""
    return UserError(
        f"loss or gradient was not finite {what}, until iteration {algorithm.it + 1}, at learning "
        f"rate {algorithm.optimizer.param_groups[-1]['lr']:.3g}. {last_good(algorithm)} {REMEDY}"
    )


def require_few(algorithm) -> None:
    """Whether a run that has come to its end may count as complete.

    Raises:
        UserError: more than a tenth of its steps were bad, or the last one was.
    """
    state = algorithm.run_state
    if state.bad_in_a_row or 10 * state.bad_steps > algorithm.it:
        last = ", of the last one too" if state.bad_in_a_row else ""
        raise UserError(
            f"loss or gradient was not finite in {state.bad_steps} of {algorithm.it} steps"
            f"{last}: what has been trained is not to be trusted. {REMEDY}"
        )


def last_good(algorithm) -> str:
    """The checkpoint that a run can go back to."""
    if algorithm.run_state.saved_at is None:
        return "There is no checkpoint yet."
    path, iteration = algorithm.run_state.saved_at
    return f"The last good checkpoint is {path}, of iteration {iteration}."

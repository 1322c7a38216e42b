"""Steps whose loss or gradients are not finite: undone, counted, and too many of them end a run."""

import warnings
from collections.abc import Iterable
from numbers import Real

import torch
from semilearn.core.hooks import Hook, ParamUpdateHook
from torch import Tensor

from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.optim import take_step
from metasemi_plugin.run_folder.step_log import packed

REMEDY = "Lower lr, or use amp_dtype bfloat16 if this is float16"


class UpdateHook(ParamUpdateHook):
    """In place of the host's ParamUpdateHook: the same step, unless its numbers are bad.

    A bad step leaves no trace but the count, the schedule and the random numbers that it drew:
    neither parameters nor BatchNorm's statistics nor what the algorithm keeps (thresholds, queues,
    ensembles) have moved; TeacherHook leaves the average alone then, too. Whether a step is bad is
    known on the device, where it decides; the host reads it with the log (`StepLogHook`).

    What float16's loss scaling skips in search of its scale is no bad step.

    Here the processes of a run come together, in one message a step: gradients and what is logged
    are averaged, so that what is bad on one is bad on all, and all stop if one is asked to.
    """

    in_step = True

    def __init__(self):
        super().__init__()
        self.buffers, self.kept = [], []

    def before_train_step(self, algorithm):
        buffers = [*algorithm.model.buffers(), *algorithm.ema.statistics.values()]
        self.buffers = [(group, collectives.pack(group)) for group in collectives.by_type(buffers)]
        others = [hook for hook in algorithm.hooks_dict.values() if not hasattr(hook, "in_step")]
        self.kept = [
            (owner, name, value, None if value is None else (value.clone(), value._version))
            for owner in (vars(algorithm), *map(vars, others))
            for name, value in owner.items()
            if value is None or isinstance(value, Tensor)
        ]

    def after_train_step(self, algorithm):
        scaler, state = algorithm.loss_scaler, algorithm.run_state
        scaler.scale(algorithm.out_dict["loss"]).backward()
        self.agree(algorithm)
        loss = algorithm.out_dict["loss"].detach()
        scaler.unscale_(algorithm.optimizer)
        if algorithm.clip_grad > 0:
            norm = torch.nn.utils.clip_grad_norm_(algorithm.model.parameters(), algorithm.clip_grad)
        else:
            norm = gradient_norm(algorithm.model.parameters(), loss)
        state.finite = (norm + loss).isfinite()
        if scaler.is_enabled():
            self.take_scaled_step(algorithm, loss)
        else:
            take_step(algorithm.optimizer, state.finite)
        algorithm.model.zero_grad()
        self.undo_if_bad(state.finite)
        state.logged = packed(algorithm.log_dict, state.finite)

    def take_scaled_step(self, algorithm, loss: Tensor) -> None:
        """Under float16's loss scaling, which knows on the host what it skips."""
        scaler, state = algorithm.loss_scaler, algorithm.run_state
        searching = scaler.get_scale() > 1 and bool(loss.isfinite())
        if state.finite or searching:
            scaler.step(algorithm.optimizer)
        state.finite = state.finite | searching
        scaler.update()

    def agree(self, algorithm) -> None:
        """Make gradients, loss, what is logged and whether to stop those of all processes."""
        state = algorithm.run_state
        if collectives.world_size() == 1:
            return
        loss = algorithm.out_dict["loss"].detach().clone()
        logs = {k: v for k, v in algorithm.log_dict.items() if isinstance(v, Real | Tensor)}
        numbers = torch.stack(
            [torch.as_tensor(v).to(loss) for v in (state.stop_requested, *logs.values())]
        )
        gradients = [p.grad for p in algorithm.model.parameters() if p.grad is not None]
        collectives.all_reduce_mean_([*gradients, loss, numbers])
        stopping, *means = numbers.tolist()
        state.stopping = stopping > 0
        algorithm.log_dict.update(zip(logs, means, strict=True))
        algorithm.out_dict["loss"] = loss

    def undo_if_bad(self, finite: Tensor) -> None:
        """Buffers, and tensors that algorithm and hooks keep, as they were before a bad step."""
        for group, kept in self.buffers:
            collectives.unpack(torch.where(finite, collectives.pack(group), kept), group)
        for owner, name, value, before in self.kept:
            now = owner[name]
            if now is value and (value is None or value._version == before[1]):
                continue
            if value is None or not isinstance(now, Tensor) or not _alike(now, value):
                owner[name] = now if finite else value  # once, where something begins
                continue
            # At its address, which a captured step knows.
            value.copy_(torch.where(finite, now, before[0]))
            owner[name] = value


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


class StepLogHook(Hook):
    """After each update: the schedule, and what the device has to say, when it is due.

    On the CPU that is after each step; on a GPU, which would have to be waited for, every
    ``num_log_iter`` iterations, at evaluations and at the end.
    """

    def after_train_step(self, algorithm):
        with warnings.catch_warnings():
            # The schedule goes on where the very first step was bad.
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler.step\(\)`")
            algorithm.scheduler.step()
        state = algorithm.run_state
        if collectives.world_size() == 1:
            state.stopping = state.stop_requested
        state.log.add(algorithm.it, algorithm.log_dict, *state.logged)
        due = (
            algorithm.device.type == "cpu"
            or any(
                self.every_n_iters(algorithm, n)
                for n in (algorithm.num_log_iter, algorithm.num_eval_iter)
            )
            or algorithm.at_the_end()
            or state.stopping
        )
        if due:
            read_log(algorithm)


def read_log(algorithm) -> None:
    """Read what was logged since the last time, and count the bad steps.

    Raises:
        UserError: too many in a row.
    """
    state = algorithm.run_state
    for it, finite in state.log.read():
        state.bad_steps += not finite
        state.bad_in_a_row = 0 if finite else state.bad_in_a_row + 1
        if state.bad_in_a_row >= algorithm.args.max_bad_steps:
            raise diverged(algorithm, it, f"for {state.bad_in_a_row} steps in a row")


def gradient_norm(parameters: Iterable[Tensor], like: Tensor) -> Tensor:
    """The sum of the norms of all gradients, 0 if there are none: finite if each gradient is."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return sum(torch._foreach_norm(gradients), torch.zeros_like(like.detach()))


def diverged(algorithm, it: int, what: str) -> UserError:
    """What to say of a run that computes nothing but NaN."""
    return UserError(
        f"loss or gradient was not finite {what}, until iteration {it + 1}, at learning "
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

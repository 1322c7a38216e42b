"""The hooks that take the place of semilearn's, or stand beside them."""

import sys
import time

import torch
from semilearn.core.hooks import EMAHook, Hook
from tqdm import tqdm

from metasemi_plugin import random_numbers
from metasemi_plugin.distributed import collectives
from metasemi_plugin.host.teacher import BnController, Teacher, lerp_, statistics
from metasemi_plugin.ramp import sigmoid_ramp
from metasemi_plugin.step_inputs import from_host


class PositionsHook(Hook):
    """Points the loaders at the iterations of the coming epoch, from wherever the run stands."""

    def before_train_epoch(self, algorithm):
        stop = min(
            (algorithm.epoch + 1) * algorithm.num_iter_per_epoch, algorithm.args.num_train_iter
        )
        for positions in algorithm.positions:
            positions.start, positions.stop = algorithm.it, stop


class RestoreRandomHook(Hook):
    """Gives a resumed run the random numbers it was saved with, after all else is set up."""

    def before_run(self, algorithm):
        saved = algorithm.run_state.resumed.get("random")
        if saved is not None:
            if collectives.world_size() > 1:  # rank 0's, which has the first GPU
                saved = saved | {"cuda": saved["cuda"][:1] * torch.cuda.device_count()}
            random_numbers.set_state(saved)
        collectives.other_dropout()


class TeacherHook(EMAHook):
    """In place of the host's EMAHook: the same average, of all parameters at once and in place.

    The host copies it into ``ema_model`` at each step, which only checkpoints read: see
    ``OnDevice.get_save_dict``.
    """

    in_step = True

    def before_run(self, algorithm):
        kind = statistics(type(algorithm), algorithm.args)
        algorithm.ema = Teacher(algorithm.model, algorithm.ema_m, kind)
        algorithm.bn_controller = BnController(algorithm)
        if algorithm.run_state.resumed:
            algorithm.ema.load_state_dict(algorithm.run_state.resumed["teacher"])

    def after_train_step(self, algorithm):
        shadow = list(algorithm.ema.shadow.values())
        params = [p.data for _, p in algorithm.model.named_parameters()]
        share = from_host(lambda: 1 - self.decay(algorithm), shadow[0].device, shadow[0].dtype)
        lerp_(shadow, params, torch.where(algorithm.run_state.finite, share, 0))
        algorithm.ema.moved()

    @staticmethod
    def decay(algorithm) -> float:
        """Of the average, in the iteration under way."""
        if algorithm.args.ema_warmup:
            return min(1 - 1 / (algorithm.it + 2), algorithm.ema_m)
        return algorithm.ema_m


class RampHook(Hook):
    """In an algorithm of the host, or built on it, a sigmoid in place of its linear ramp.

    The linear one is over after one iteration, in which it is 0 (the sigmoid: 0.007).
    """

    in_step = True

    def before_run(self, algorithm):
        algorithm.unsup_warm_up = sys.float_info.epsilon

    def before_train_step(self, algorithm):
        share = algorithm.args.unsup_warm_up
        algorithm.lambda_u = algorithm.args.ulb_loss_ratio * sigmoid_ramp(algorithm, share)


class WallClockHook(Hook):
    """In place of the host's TimerHook, which needs CUDA events. Seconds."""

    def before_run(self, algorithm):
        self.waiting_since = time.perf_counter()

    def before_train_step(self, algorithm):
        self.prefetch_time = time.perf_counter() - self.waiting_since

    def after_train_step(self, algorithm):
        algorithm.log_dict["lr"] = algorithm.optimizer.param_groups[-1]["lr"]
        algorithm.log_dict["train/prefetch_time"] = self.prefetch_time
        self.waiting_since = time.perf_counter()


class EvaluateHook(Hook):
    """In place of the host's EvaluationHook: validation and test are scored together.

    The host scores ``test`` once, after the run, with the best checkpoint's buffers but the last
    EMA parameters (semilearn 0.3.2). Here each evaluation scores both sets with the model as
    it stands and keeps the errors, so that a choice made on ``eval`` can be read off ``test``. They
    are logged as "validation/error" and "test/error", in percent.
    """

    def after_train_step(self, algorithm):
        if not (self.every_n_iters(algorithm, algorithm.num_eval_iter) or algorithm.at_the_end()):
            return
        scores = {"it": algorithm.it + 1}
        for part, name in (("eval", algorithm.chosen_on), ("test", "test")):
            if part in algorithm.loader_dict:
                result = algorithm.evaluate(part, return_logits=True)
                predicted = result.pop(f"{part}/logits").argmax(1)
                algorithm.run_state.confusion[name] = confusion(algorithm, part, predicted)
                scores[part] = 100 * (1 - result[f"{part}/top-1-acc"])
                algorithm.log_dict |= {**result, f"{name}/error": scores[part]}
        algorithm.run_state.history.append(scores)
        if algorithm.log_dict["eval/top-1-acc"] > algorithm.best_eval_acc:
            algorithm.best_eval_acc = algorithm.log_dict["eval/top-1-acc"]
            algorithm.best_it = algorithm.it


def confusion(algorithm, part, predicted):
    """How many images of each class (row) are taken for each class (column): (C, C)."""
    from sklearn.metrics import confusion_matrix  # as the host's evaluation does: see stand_ins

    targets = algorithm.dataset_dict[part].targets
    return confusion_matrix(targets, predicted, labels=range(len(algorithm.class_names)))


class ProgressHook(Hook):
    """In place of the host's LoggingHook: TensorBoard, log file, and a progress bar.

    Where standard error is not a terminal, plain lines take the place of the bar.
    """

    def before_run(self, algorithm):
        self.bar = tqdm(
            total=algorithm.args.num_train_iter,
            initial=algorithm.it,
            desc=algorithm.algorithm,
            disable=collectives.rank() > 0 or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self.started, self.first_it = time.perf_counter(), algorithm.it

    def after_train_step(self, algorithm):
        history = algorithm.run_state.history
        evaluated = history and history[-1]["it"] == algorithm.it + 1
        logs_now = self.every_n_iters(algorithm, algorithm.num_log_iter) or evaluated
        if logs_now and algorithm.tb_log is not None:
            algorithm.tb_log.update(algorithm.log_dict, algorithm.it + 1)
        self.bar.update()
        if logs_now:
            line = self.describe(algorithm)
            self.bar.set_postfix_str(line)
            done = algorithm.it + 1
            seconds = (time.perf_counter() - self.started) / (done - self.first_it)
            total = algorithm.args.num_train_iter
            left = tqdm.format_interval(seconds * (total - done))
            line = f"{done}/{total}  {line}  {1 / seconds:.2f} it/s  {left} left"
            algorithm.print_fn(line)
            if self.bar.disable:
                print(line, flush=True)

    def after_run(self, algorithm):
        self.bar.close()

    @staticmethod
    def describe(algorithm) -> str:
        parts = [f"loss {algorithm.out_dict['loss'].item():.4f}"]
        if "train/kept" in algorithm.log_dict:
            parts.append(f"kept {algorithm.log_dict['train/kept']:.2f}")
        if algorithm.run_state.history:
            scores = algorithm.run_state.history[-1]
            best = 100 * (1 - algorithm.best_eval_acc)
            parts.append(f"{algorithm.chosen_on} error best {best:.2f} last {scores['eval']:.2f} %")
        return "  ".join(parts)

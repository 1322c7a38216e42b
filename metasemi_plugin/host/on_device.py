"""semilearn's algorithms, unmodified, on any device: a mixin put before the algorithm's class."""

import argparse
import functools
import inspect
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from semilearn.core.hooks import Hook
from semilearn.core.utils import ALGORITHMS, get_data_loader
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from metasemi_plugin import random_numbers
from metasemi_plugin.config.names import DATASETS
from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.config.restarts import first_part
from metasemi_plugin.data.decode import RGB
from metasemi_plugin.distributed import collectives, process_group
from metasemi_plugin.distributed.sync_bn import synced
from metasemi_plugin.errors import UserError
from metasemi_plugin.host import bad_steps, captured, hooks
from metasemi_plugin.host.datasets import build_splits, settle_channels
from metasemi_plugin.host.device import cuda_means, resolve_device
from metasemi_plugin.host.initial_weights import start_from
from metasemi_plugin.host.mean_teacher import require_alive
from metasemi_plugin.host.nets import rehearse
from metasemi_plugin.host.optim import build_optimizer, build_scheduler
from metasemi_plugin.host.saving import RecordHook
from metasemi_plugin.host.shared_passes import SharedPasses
from metasemi_plugin.host.streams import Positions, Stream, collated
from metasemi_plugin.host.teacher import Teacher
from metasemi_plugin.host.views import ulb_views
from metasemi_plugin.host.whole_batch import FlexMatchWhole, SoftMatchWhole
from metasemi_plugin.run_folder import checkpoint, files
from metasemi_plugin.run_folder.state import RunState

AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class OnDevice:
    """Overrides the documented methods of semilearn's AlgorithmBase, and those only.

    What differs from the host: the device; data streams that follow the seed; a learning-rate
    schedule to choose; the last iteration is evaluated whatever the intervals; checkpoints that are
    written whole and resume exactly; the EMA parameters are loaded with the model.

    Of several processes each holds a model of its own, which no wrapper knows of: their gradients
    are averaged by UpdateHook, and their parameters stay the same. BatchNorm takes its statistics
    from a process's own images unless sync_bn is on; the running ones of rank 0 are those that are
    evaluated and saved. semilearn's algorithms mix images within a process.

    What is evaluated is ``average`` where an algorithm has one, else the EMA.
    """

    args: argparse.Namespace
    model: nn.Module
    it: int
    average: Teacher | None = None

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        require_alive(type(self))
        self.device = resolve_device(args.device)
        if self.device.type == "cuda":
            args.gpu = self.device.index or 0
            torch.cuda.set_device(args.gpu)
            # Of the whole process; torch's own default is TF32 in convolutions alone.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.tf32
        self.run_state = RunState()
        self.settings = {k: v for k, v in vars(args).items() if k not in CALL_OPTIONS}
        if collectives.world_size() > 1:
            args.distributed, args.world_size, args.rank = (
                True,
                collectives.world_size(),
                collectives.rank(),
            )
        self.positions: list[Positions] = []
        if args.dataset in DATASETS:
            _try_net(net_builder, args)  # before the data are touched
        with cuda_means(self.device):
            super().__init__(args, net_builder, tb_log, logger)
        # The host knows float16 on CUDA only. And autocast's cache of cast weights must be off: a
        # pass without gradients, or with the teacher's weights, would leave its casts to the next.
        dtype = AMP_DTYPES[args.amp_dtype]
        if self.use_amp:
            self.amp_cm = functools.partial(
                torch.autocast, self.device.type, dtype, cache_enabled=False
            )
        scaled = self.use_amp and dtype is torch.float16
        self.loss_scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.num_iter_per_epoch = -(-args.num_train_iter // self.epochs)
        # What ramps, semilearn's too, are shares of; the end is args.num_train_iter.
        self.num_train_iter = first_part(args)

    def set_dataset(self):
        built = process_group.one_first(lambda: build_splits(self.args))
        splits, self.chosen_on, self.class_names = built
        if self.args.dataset not in DATASETS:
            settle_channels(self.args, splits)
            _try_net(self.net_builder, self.args)
        self.args.lb_dest_len, self.args.ulb_dest_len = (
            len(splits["train_lb"]),
            len(splits["train_ulb"]),
        )
        sizes = {name: len(part) for name, part in splits.items() if part is not None}
        self.print_fn(f"images: {sizes}")
        return splits

    def batch_sizes(self):
        """Images a batch of each training set, on all processes; in the order of the streams."""
        lb = self.args.batch_size
        return {"train_lb": lb, "train_ulb": lb * self.args.uratio}

    def set_data_loader(self):
        loaders = {}
        for number, (name, batch_size) in enumerate(self.batch_sizes().items()):
            positions = Positions(batch_size)
            self.positions.append(positions)
            loaders[name] = DataLoader(
                Stream(self.dataset_dict[name], self.args.seed, number),
                batch_size,
                sampler=positions,
                num_workers=self.args.num_workers,
                collate_fn=collated,
                drop_last=True,
                # Keeps the iterators' seeds out of the global generator.
                generator=torch.Generator().manual_seed(self.args.seed),
            )
        for name in ("eval", "test"):
            if self.dataset_dict[name] is not None:
                loaders[name] = get_data_loader(
                    self.args,
                    self.dataset_dict[name],
                    self.args.eval_batch_size,
                    data_sampler=None,
                    num_workers=self.args.num_workers,
                    drop_last=False,
                )
        return loaders

    def set_model(self):
        model = super().set_model()
        self.image_format = self._image_format(model)
        self.begun_with = start_from(model, self.args, self.class_names)
        model = self._prepare(model)
        collectives.broadcast_(model.state_dict().values())
        return model

    def set_ema_model(self):
        return self._prepare(super().set_ema_model())

    def _prepare(self, model: nn.Module) -> nn.Module:
        if self.args.bn_momentum is not None:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum = self.args.bn_momentum
        if self.args.sync_bn:
            model = synced(model)
        return model.to(self.device, memory_format=self.image_format)  # type: ignore[call-overload]

    def _image_format(self, model: nn.Module) -> torch.memory_format:
        """What the option channels_last means for this backbone."""
        on = self.args.channels_last == "true" or (
            self.args.channels_last == "auto"
            and any(isinstance(module, nn.Conv2d) for module in model.modules())
        )
        return torch.channels_last if on else torch.contiguous_format

    def set_optimizer(self):
        optimizer = build_optimizer(self.model, self.args)
        return optimizer, build_scheduler(optimizer, self.args)

    def set_hooks(self):
        super().set_hooks()
        # The same name keeps the slot of the host's hook.
        self.register_hook(bad_steps.UpdateHook(), "ParamUpdateHook", "HIGHEST")
        self.register_hook(bad_steps.StepLogHook(), priority="HIGHEST")
        self.register_hook(hooks.TeacherHook(), "EMAHook", "HIGH")
        self.register_hook(hooks.EvaluateHook(), "EvaluationHook", "HIGH")
        self.register_hook(Hook(), "CheckpointHook", "HIGH")  # RecordHook saves, later
        self.register_hook(hooks.WallClockHook(), "TimerHook", "LOW")
        self.register_hook(hooks.ProgressHook(), "LoggingHook", "LOWEST")
        for name in ("WANDBHook", "AimHook"):  # Curves log to both
            self.register_hook(Hook(), name, "LOWEST")
        self.register_hook(hooks.PositionsHook())
        if self.args.sigmoid_ramp:
            self.register_hook(hooks.RampHook())
        self.register_hook(RecordHook(), priority="LOWEST")
        self.register_hook(hooks.RestoreRandomHook(), priority="LOWEST")

    def train(self):
        """The host's loop, whose iterations are `captured.Step`s."""
        self.model.train()
        self.call_hook("before_run")
        step = captured.Step(self)
        for epoch in range(self.start_epoch, self.epochs):
            self.epoch = epoch
            if self.it >= self.args.num_train_iter:
                break
            self.call_hook("before_train_epoch")
            loaders = (self.loader_dict[name] for name in self.batch_sizes())
            for parts in zip(*loaders, strict=False):
                if self.it >= self.args.num_train_iter:
                    break
                for hook in step.outside:
                    hook.before_train_step(self)
                step(self.arguments({k: v for part in parts for k, v in part.items()}))
                for hook in step.outside:
                    hook.after_train_step(self)
                self.it += 1
            self.call_hook("after_train_epoch")
        self.call_hook("after_run")

    def at_the_end(self) -> bool:
        """Whether the iteration under way is the last; `is_last_iter` of hooks knows one part."""
        return self.it + 1 == self.args.num_train_iter

    def arguments(self, batch):
        """What train_step takes of a batch."""
        names = inspect.signature(self.train_step).parameters
        return {name: value for name, value in batch.items() if name in names}

    def to_device(self, batch):
        """A batch as train_step takes it, of the memory format of the backbone."""
        return {k: self.laid_out(t.to(self.device)) for k, t in batch.items()}

    def process_batch(self, input_args=None, **kwargs):
        return self.to_device(self.arguments(kwargs))

    def reading_as_tensors(self):
        """A block in which an algorithm of semilearn does not wait for the GPU to log."""
        ours = type(self).train_step.__module__.startswith("metasemi_plugin.")
        on_cuda = self.device.type == "cuda"
        return captured.ReadingAsTensors() if on_cuda and not ours else nullcontext()

    def spare_batches(self, count):
        """``count`` batches for train_step that this iteration, and no other, draws.

        They come from streams beside those that are trained on, whose places do not move.
        """
        for place in range(self.it * count, (self.it + 1) * count):
            batch = {}
            for name, size in self.batch_sizes().items():
                batch |= self.spare_batch(name, size, place)
            yield batch

    def spare_batch(self, name, size, place, beside=1):
        """The batch of so many images at a place of a stream beside that of a training set."""
        return self.process_batch(**self.read_spare(name, size, place, beside))

    def read_spare(self, name, size, place, beside):
        """`spare_batch`, on the CPU."""
        sets = list(self.batch_sizes())
        number = beside * len(sets) + sets.index(name)
        stream = Stream(self.dataset_dict[name], self.args.seed, number)
        positions = list(range(place * size, (place + 1) * size))
        return collated(stream.__getitems__(positions))

    def laid_out(self, value):
        """Images in the backbone's memory format."""
        is_image = isinstance(value, torch.Tensor) and value.ndim == 4
        return value.contiguous(memory_format=self.image_format) if is_image else value

    def evaluate(self, eval_dest="eval", out_key="logits", return_logits=False):
        """The host's evaluation; of several processes each computes its part of each batch."""
        average = self.evaluated()
        collectives.broadcast_([*self.model.buffers(), *average.statistics.values()])
        ema, self.ema = self.ema, average
        try:
            return self._evaluate(eval_dest, out_key, return_logits)
        finally:
            self.ema = ema

    def _evaluate(self, eval_dest, out_key, return_logits):
        from sklearn.exceptions import UndefinedMetricWarning  # as the host does: see stand_ins

        with (
            SharedPasses(self, out_key),
            random_numbers.untouched(),
            cuda_means(self.device),
            warnings.catch_warnings(),
        ):
            # A class that is never predicted: precision is 0 then, which is what one expects.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            return super().evaluate(eval_dest, out_key, return_logits)

    def evaluated(self) -> Teacher:
        """The average that is evaluated and saved, with statistics that belong to it."""
        average = self.average or self.ema
        if average.stale:
            began = time.perf_counter()
            # Each process makes all the passes, and comes to what one process would.
            with random_numbers.untouched(), collectives.alone(), average.in_place():
                random_numbers.seed_all(self.args.seed)
                update_bn(self.clean_batches(), self.model)
            average.stale = False
            self.run_state.statistics_seconds += time.perf_counter() - began
        return average

    def clean_batches(self):
        """Training images (N, C, H, W), unmixed and weakly augmented: always the same batches."""
        unlabeled = "x_ulb_w" in ulb_views(self.args)
        name, key = ("train_ulb", "x_ulb_w") if unlabeled else ("train_lb", "x_lb")
        for place in range(self.args.bn_batches):
            yield self.spare_batch(name, self.batch_sizes()[name], place, beside=2)[key]

    def get_save_dict(self):
        with self.evaluated().in_place():
            evaluated = {name: t.detach() for name, t in self.model.state_dict().items()}
        self.ema_model.load_state_dict(evaluated)
        saved = super().get_save_dict()
        # The same memory as the teacher's: a file holds it once.
        saved["ema_model"], saved["teacher"] = evaluated, self.ema.state_dict()
        saved["it"] = min(self.it + 1, self.args.num_train_iter)
        saved["best_eval_acc"] = float(self.best_eval_acc)
        state = self.run_state
        saved["history"] = state.history
        saved["record"] = {} if state.record is None else state.record.saved_state()
        saved["random"] = random_numbers.state()
        saved["bad_steps"] = [state.bad_steps, state.bad_in_a_row]
        saved["settings"], saved["version"] = self.settings, checkpoint.VERSION
        return saved

    def _set_lr(self):
        """What the schedule has for this iteration: where a new part begins, not what was saved."""
        schedule = self.scheduler
        for group, lr, factor in zip(
            self.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
        ):
            group["lr"] = lr * factor(self.it)

    def save_model(self, save_name, save_path):
        files.replace(Path(save_path) / save_name, checkpoint.to_bytes(self.get_save_dict()))

    def load_model(self, load_path):
        """Take up a checkpoint, a path or its contents.

        Raises:
            checkpoint.Unusable: see there.
            UserError: it was saved with other settings.
        """
        file, found = checkpoint.verified(load_path)
        try:
            checkpoint.refuse_other_settings(found["settings"], self.settings, load_path)
            with cuda_means(self.device):
                saved = super().load_model(file)
            self.start_epoch = self.it // self.num_iter_per_epoch
            self._set_lr()
            state = self.run_state
            state.history = saved["history"]
            state.resumed = {key: saved[key] for key in ("record", "random", "teacher")}
            if self.ema is not None:
                self.ema.load_state_dict(saved["teacher"])
            state.bad_steps, state.bad_in_a_row = saved["bad_steps"]
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            lines = str(error).split("\n")
            raise checkpoint.Unusable(f"is not of this run ({lines[0]})") from error
        return saved


class VatOnDevice:
    """VAT's loss calls ``.cuda()`` where no data-side hook reaches it."""

    def vat_loss(self, *args, **kwargs):
        with cuda_means(self.device):
            return super().vat_loss(*args, **kwargs)


EXTRA = {"vat": VatOnDevice, "flexmatch": FlexMatchWhole, "softmatch": SoftMatchWhole}


@functools.cache
def on_device(name: str) -> type:
    """The registered algorithm ``name``, able to run on any device."""
    extra = (EXTRA[name],) if name in EXTRA else ()
    algorithm = ALGORITHMS[name]
    return type(f"{algorithm.__name__}OnDevice", (OnDevice, *extra, algorithm), {})


def _try_net(net_builder, args) -> None:
    """Build the net and do with it what the training will, without a trace."""
    with random_numbers.untouched():
        net = net_builder(num_classes=args.num_classes, pretrained=False, pretrained_path="")
        _check_net(net, args)
        start_from(net, args)
        rehearse(net, args)


@torch.no_grad()
def _check_net(model: nn.Module, args) -> None:
    """One image through the backbone before the training starts, in eval mode."""
    was_training = model.training
    try:
        out = model.eval()(torch.zeros(1, args.channels, args.img_size, args.img_size))
    except UserError:
        raise
    except Exception as error:
        size, hint = f"{args.img_size}x{args.img_size}", ""
        if args.channels != RGB:
            size += f"x{args.channels}"
            hint = " (a builder with the parameter in_channels is told)"
        raise UserError(f"net: {args.net!r} fails on a {size} image{hint}: {error}") from error
    finally:
        model.train(was_training)
    if not isinstance(out, dict) or not {"logits", "feat"} <= out.keys():
        raise UserError(f"net: {args.net!r} must return a dict with 'logits' and 'feat'")
    if out["logits"].shape != (1, args.num_classes):
        raise UserError(
            f"net: {args.net!r} gives logits of shape {tuple(out['logits'].shape[1:])}, "
            f"expected ({args.num_classes},) for num_classes {args.num_classes}"
        )

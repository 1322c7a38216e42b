"""An algorithm as one of its checkpoints has it, to be looked at."""

import logging
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.runner import no_host_warnings
from metasemi_plugin.run_folder import checkpoint
from metasemi_plugin.run_folder.layout import CONFIG


def loaded(folder: Path, name: str):
    """The algorithm of a run folder, in train mode, with its data, model and teacher.

    Args:
        folder: of the run.
        name: of one of its checkpoints.

    Raises:
        UserError: there is no such run, or its checkpoint cannot be used.
    """
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device

    if not (folder / CONFIG).exists():
        raise UserError(f"{folder} is no run folder: there is no config.yaml in it")
    args = resolve(str(folder / CONFIG), {"resume": True})
    with no_host_warnings():
        silent = logging.Logger(__name__)
        algorithm = on_device(args.algorithm)(args, net_builder(args), None, silent)
        try:
            algorithm.load_model(folder / name)
        except checkpoint.Unusable as error:
            raise UserError(f"{folder / name} {error}") from error
        algorithm.hooks_dict["EMAHook"].before_run(algorithm)
        algorithm.ema.load(algorithm.ema_model)
    algorithm.model.train()
    return algorithm

"""Checkpoints: whole, checked before they are used, and never only one.

A file is what torch.save writes, a zip archive, with the SHA-256 of all that comes before it as
the archive's comment: any torch.load reads it, and a changed byte anywhere is noticed. The one
before is kept as well; where the latest cannot be used, a run goes on from that.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import torch

from metasemi_plugin.config.options import NEUTRAL
from metasemi_plugin.distributed import collectives, process_group
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files, layout
from metasemi_plugin.run_folder.extension import unextended
from metasemi_plugin.run_folder.layout import LATEST, PREVIOUS, UNUSABLE

VERSION = 2
_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64


class Unusable(Exception):
    """Why a checkpoint cannot be used, as the end of a sentence that begins with its name."""


def to_bytes(saved: dict) -> bytes:
    """A checkpoint as the contents of a file."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    # The last two bytes of a zip archive without a comment are the length of the comment.
    buffer.seek(-2, os.SEEK_END)
    buffer.write(_COMMENT.to_bytes(2, "little"))
    buffer.write(_comment(buffer.getbuffer()))
    return buffer.getvalue()


def write_latest(folder: Path, content: bytes) -> None:
    """Make `content` the latest checkpoint, and what was the latest the previous one.

    Raises:
        OSError: it cannot be written; the checkpoints are those that were there.
    """
    latest = folder / LATEST
    rotation = [(latest, folder / PREVIOUS)] if latest.exists() else []
    files.replace(latest, content, before_moving=rotation)


def verified(source: Path | bytes) -> tuple[io.BytesIO, dict]:
    """A checkpoint as a file and as what is in it, which is whole, unchanged and safe to load.

    Args:
        source: where it is, or what is in the file.

    Raises:
        Unusable: it is missing, damaged, of another program or version, or not safe to load.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error
    if not content[-_COMMENT:].startswith(_MARK):
        if zipfile.is_zipfile(io.BytesIO(content)):
            raise Unusable("was written by an older version, or by another program")
        raise Unusable("is cut off, or is no checkpoint")
    if _comment(memoryview(content)[:-_COMMENT]) != content[-_COMMENT:]:
        raise Unusable("is damaged (its SHA-256 is not the one it was written with)")
    try:
        # The host loads it again, which old versions of torch do without this precaution.
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile pickle may raise anything
        raise Unusable("holds more than tensors and plain values, and was not loaded") from error
    if not isinstance(saved, dict) or saved.get("version") != VERSION:
        raise Unusable("was written by another version of this program")
    return io.BytesIO(content), saved


def load(algorithm, folder: Path) -> str | None:
    """Bring the algorithm to where its run was last saved.

    Of several processes rank 0 reads the checkpoint, and the others get it from there.

    Returns:
        A line to show if that is not the latest checkpoint. That has been set aside then, so that
        it does not take the place of the good one.

    Raises:
        UserError: no checkpoint can be used, or the run was begun with other settings.
    """
    path, line = process_group.from_first(lambda: _load_from(folder, algorithm))
    if collectives.world_size() > 1:
        content = process_group.from_first(path.read_bytes)
        if collectives.rank():
            algorithm.load_model(content)
    algorithm.run_state.saved_at = path, algorithm.it
    return line


def _load_from(folder: Path, algorithm) -> tuple[Path, str | None]:
    """Load the latest checkpoint that can be used; its path, and a line to show."""
    problems = []
    for path in (folder / LATEST, folder / PREVIOUS):
        try:
            algorithm.load_model(path)
        except Unusable as error:
            problems.append(f"{path} {error}")
            continue
        if not problems:
            return path, None
        latest = folder / LATEST
        if latest.exists():
            with files.writable(folder):
                os.replace(latest, folder / UNUSABLE)
        return path, f"{problems[0]}: going on from {path}, iteration {algorithm.it}"
    raise UserError(
        f"--resume: {'; '.join(problems)}: bring one of them back, or "
        f"{layout.start_over(folder, algorithm.args)}"
    )


def refuse_other_settings(begun: dict, now: dict, path: Path) -> None:
    """Stop if a run would go on with other settings than it was begun with.

    An option that is younger than the checkpoint, or was dropped since, is not compared; nor is
    what training on has changed.

    Raises:
        UserError: names the settings.
    """
    now = unextended(begun, now)
    keys = sorted(begun.keys() & now.keys() - set(NEUTRAL))
    different = [f"{key} {begun[key]}, not {now[key]}" for key in keys if begun[key] != now[key]]
    if different:
        raise UserError(
            f"--resume: the run of {path} was begun with {'; '.join(different)}: resume it with "
            f"--c {Path(path).with_name('config.yaml')}, or take another --save_name"
        )


def _comment(content) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode("ascii")

"""What Windows lacks, pretended away: it has no fcntl and no resource, and opens no folders."""

import ast
import os
import sys
from pathlib import Path

import psutil
import pytest

import metasemi_plugin
from metasemi_plugin import machine
from metasemi_plugin.run_folder import files, lock

SOURCES = sorted(Path(metasemi_plugin.__file__).parent.rglob("*.py"))


def imported(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_nothing_imports_what_is_not_there(source):
    assert not {"fcntl", "resource", "pwd", "grp", "termios"} & set(imported(source))


def test_files_are_replaced_where_folders_cannot_be_opened(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", refuse)
    files.replace(tmp_path / "file", b"content")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_lock_whose_file_cannot_be_written_still_locks(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    with lock.locked(tmp_path):
        assert lock.holder(tmp_path) == "unknown"
    assert lock.holder(tmp_path) is None


def test_memory_without_proc(monkeypatch):
    now = psutil.Process().memory_info().rss / 2**20
    peak = machine.peak_memory_mb()
    assert now <= peak < 10 * now
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert machine.peak_memory_mb() == pytest.approx(now, rel=0.1)
    assert 0.5 < machine.memory_gb() < 1e5

import pytest
from skeleton import SKELETON


@pytest.fixture
def tree(tmp_path):
    """The root of a tree that the export takes for a clone of theirs."""
    root = tmp_path / "usb"
    for path, text in SKELETON.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return root


@pytest.fixture
def export(tree, capsys):
    """export(*words): the command on that tree -> (status, lines that it printed)."""
    from metasemi_plugin.__main__ import main

    def export(*words):
        status = main(["export-upstream", "--usb", str(tree), *words])
        out = capsys.readouterr()
        return status, (out.out + out.err).splitlines()

    return export

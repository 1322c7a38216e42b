import pytest
from skeleton import SKELETON, UPSTREAM, load


@pytest.fixture
def tree(tmp_path):
    """The root of a tree that the script takes for a clone of theirs."""
    root = tmp_path / "usb"
    for path, text in SKELETON.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return root


@pytest.fixture
def apply(tree, capsys):
    """apply(name): the script on that tree -> (status, lines that it printed)."""
    main = load(UPSTREAM / "apply.py").main

    def apply(*words):
        status = main([str(tree), *words])
        out = capsys.readouterr()
        return status, (out.out + out.err).splitlines()

    return apply

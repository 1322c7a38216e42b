"""Training needs to write into its run folder, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

# Every attempt of Python code to write elsewhere is refused, whatever the rights of the user are.
CODE = """
import os, sys
from pathlib import Path
runs, home = sys.argv[1:3]
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate")
def refuse(event, args):
    if event == "open":
        _, mode, flags = args
        writes = mode is not None and set(str(mode)) & set("wax+")
        writes = writes or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    changes = event in CHANGES or (event == "open" and writes)
    if changes and not isinstance(args[0], int):
        path = os.path.abspath(os.fsdecode(args[0]))
        if not path.startswith((runs, home, "/dev/")):
            raise PermissionError(13, "Permission denied", path)
sys.addaudithook(refuse)
for folder in (os.getcwd(), Path(os.__file__).parent):
    try:
        open(Path(folder) / "probe", "w")
    except PermissionError:
        print("not writable")
import metasemi_plugin
from tiny import TINY_RUN
summary = metasemi_plugin.train(**TINY_RUN | {"save_dir": runs, "use_tensorboard": True})
print("trained", summary["iterations"])
"""


def test_neither_the_package_nor_the_working_directory_needs_to_be_writable(tmp_path):
    for name in ("runs", "home", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "here").chmod(0o555)
    paths = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    ended = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", CODE, str(tmp_path / "runs"),
         str(tmp_path / "home")],
        cwd=tmp_path / "here", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("not writable") == 2
    assert "trained 6" in ended.stdout
    assert list((tmp_path / "here").iterdir()) == []

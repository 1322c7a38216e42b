"""The pull request that adds Meta-Semi: every file of their tree that it adds or changes."""

import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from metasemi_plugin.upstream.edits import Edit, edited
from metasemi_plugin.upstream.generate import NAME, new_files

PAPER = "https://doi.org/10.26599/AIR.2022.9150011"
GENERATOR = "scripts/config_generator_classic_cv.py"

PACKAGE_EDITS = [
    Edit(
        "semilearn/core/utils/registry.py",
        "'mixmatch', 'pimodel', 'pseudolabel',",
        f"'{NAME}', 'mixmatch', 'pimodel', 'pseudolabel',",
    ),
    Edit(  # one weak view
        "semilearn/datasets/cv_datasets/datasetbase.py",
        "elif self.alg == 'pseudolabel' or self.alg == 'vat':",
        f"elif self.alg == 'pseudolabel' or self.alg == 'vat' or self.alg == '{NAME}':",
    ),
    Edit(
        "semilearn/nets/__init__.py",
        "from .wrn import wrn_28_2, wrn_28_8, wrn_var_37_2\n",
        "from .wrn import wrn_28_2, wrn_28_8, wrn_var_37_2\nfrom .cnn13 import cnn13\n",
    ),
]

# U = 3B as in the paper; the rest of the protocol is the one that all algorithms share there.
_OPTIONS = f'''\
    elif alg == "{NAME}":
        cfg["mixup_beta"] = 0.5
        cfg["meta_gradient"] = "forward"
        cfg["uratio"] = 3
'''
_PROCESSES = f'''\
    if alg == "{NAME}":
        # one process on one GPU
        cfg["multiprocessing_distributed"] = False
        cfg["gpu"] = 0

'''
_LAST_ALGORITHM = "17. [DeFixMatch] (https://arxiv.org/abs/2203.07512)"
_LAST_REFERENCE = (
    "Don't fear the unlabelled: safe semi-supervised learning via simple debiasing, ICLR, 2023"
)
CLONE_EDITS = [
    Edit(GENERATOR, "\n    # cfg['img']\n", f"{_OPTIONS}\n    # cfg['img']\n"),
    Edit(GENERATOR, "    # other config\n", f"{_PROCESSES}    # other config\n"),
    # Last, so that the ports of the others stay.
    Edit(GENERATOR, '"defixmatch",\n    ]\n', f'"defixmatch",\n        "{NAME}",\n    ]\n'),
    Edit(
        "README.md",
        "## News and Updates\n\n",
        "## News and Updates\n\n"
        f"- [{date.today():%m/%d/%Y}] Add [Meta-Semi]({PAPER}) and its backbone CNN-13.\n\n",
        made=f"] Add [Meta-Semi]({PAPER})",
    ),
    Edit(
        "CHANGE_LOG.md",
        "# Change Log\n\n",
        "# Change Log\n\n* Added the Meta-Semi algorithm and the CNN-13 backbone.\n",
    ),
    Edit(
        "docs/algorithm_zoo.md",
        _LAST_ALGORITHM,
        f"{_LAST_ALGORITHM}\n18. [Meta-Semi]({PAPER}): mixes labeled and pseudo-labeled samples "
        "and trains on those mixed samples whose gradient does not oppose the gradient of the "
        "labeled loss. The meta-gradient that decides it is computed exactly, in the same forward "
        "pass that trains, by forward-mode differentiation.",
    ),
    Edit(
        "docs/reference.md",
        _LAST_REFERENCE,
        f"{_LAST_REFERENCE}\n\n[33] Wang, Yulin, Jiayi Guo, Jiangshan Wang, Cheng Wu, Shiji Song, "
        'and Gao Huang. "Meta-Semi: A Meta-learning Approach for Semi-supervised Learning." CAAI '
        f"Artificial Intelligence Research 1, no. 2 (2022): 161-171. {PAPER}",
    ),
]


def is_clone(root: Path) -> bool:
    """Whether it is their repository, and not the installed package alone."""
    return (root / "setup.py").is_file()


def algorithm(root: Path) -> dict[str, str]:
    """Path in their tree -> text, with Meta-Semi in it; of an installed package, its part only.

    Raises:
        UserError: the tree is not one that this export knows.
    """
    edits = [*PACKAGE_EDITS, *(CLONE_EDITS if is_clone(root) else [])]
    files = edited(root, edits) | new_files()
    return files | (_configs(files[GENERATOR]) if GENERATOR in files else {})


def _configs(generator: str) -> dict[str, str]:
    """What their own script, as edited, writes for this algorithm."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "generator.py")
        script.write_text(generator, encoding="utf-8")
        Path(folder, "config").mkdir()
        subprocess.run([sys.executable, script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        written = sorted(Path(folder, "config", "classic_cv", NAME).glob("*.yaml"))
        return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in written}

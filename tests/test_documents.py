"""What README and docs/ refer to is there, and what is said in several places is said alike."""

import re
import runpy
from pathlib import Path

import pytest
import setuptools
from ruamel.yaml import YAML

import metasemi_plugin

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "docs/method", "benchmark_results")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.fixture
def setup(monkeypatch) -> dict:
    """What setup.py hands over."""
    given: dict = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return given


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_configurations_are_there(page):
    text = page.read_text(encoding="utf-8")
    for path, heading in LINK.findall(text):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in _anchors(target), f"{path}#{heading}"
    for path in re.findall(r"(?:config|docs/slurm)/[\w/]+\.(?:yaml|sbatch)", text):
        assert (ROOT / path).exists() or "/ALGORITHM/" in path, path


def _anchors(page: Path) -> list[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_a_package_index_gets_no_relative_link(setup):
    shown = setup["long_description"]
    assert LINK.findall(shown) == []
    assert "with its interval" not in shown  # the picture
    assert "(how it works)" in shown
    assert "[doi 10.26599/AIR.2022.9150011](https://doi.org/" in shown


def test_versions(setup):
    load = YAML(typ="safe").load
    cited = load(ROOT / "CITATION.cff")["version"]
    assert metasemi_plugin.__version__ == setup["version"] == cited
    (ruff,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ruff=={ruff['rev'].removeprefix('v')}" in pins


def test_the_command_that_tests_is_the_one_that_ci_runs():
    assert "\n    make test " in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()
    steps = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")["jobs"]["run"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}

import re
from pathlib import Path

from setuptools import find_packages, setup

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
# A package index has no files beside it: relative pictures go, and relative links become text.
readme = re.sub(r"!\[.*?\]\(.*?\)\n\n|\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", readme)

setup(
    name="metasemi-plugin",
    version="0.1.0",
    description="Meta-Semi (Wang et al.) as a plug-in for Microsoft's USB benchmark (semilearn)",
    long_description=readme,
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["metasemi_plugin", "metasemi_plugin.*"]),
    package_data={
        "metasemi_plugin.experiments": ["published.csv"],
        "metasemi_plugin.experiments.report": ["page.html.j2"],
        "metasemi_plugin.model": ["page.html.j2"],
    },
    python_requires=">=3.10",
    install_requires=[
        "semilearn==0.3.2",
        "torch>=2.4",
        "torchvision>=0.19",
        "timm>=1.0",
        "tensorboard>=2.14",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "numpy>=1.26",
        "pillow>=10.1",
        "tqdm>=4.65",
        "psutil>=5.9",
        "ruamel.yaml>=0.18",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "pandas>=2.2",
        "filelock>=3.16",
        "safetensors>=0.4",
    ],
    entry_points={"console_scripts": ["metasemi_plugin = metasemi_plugin.cli:main"]},
    extras_require={
        "dev": [
            "pytest>=8",
            "hypothesis>=6",
            "ruff>=0.9",
            "mypy>=1.13",
            "submitit>=1.5",
        ],
        # compare --executor slurm
        "slurm": ["submitit>=1.5"],
        # To download its data sets.
        "medmnist": ["medmnist>=3.0"],
        # export --format onnx
        "export": ["onnx>=1.16", "onnxruntime>=1.18", "torch>=2.5"],
        # Two rows of the table.
        "bench": ["higher>=0.2.1", "torchopt>=0.7.3"],
    },
)

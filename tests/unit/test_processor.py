"""Which processors MKL is told to use in full, what it changes, and what `info` says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interpretdl import cli
from interpretdl.processor import SWITCH, Processor, this_processor, use_fast_products

AMD = Processor("AMD EPYC 9654", "AuthenticAMD", frozenset({"sse2", "avx2", "avx512f"}))
VARIABLE = "MKL_DEBUG_CPU_TYPE"
CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD Ryzen 7 5800X 8-Core Processor
flags\t\t: fpu sse2 avx avx2

processor\t: 1
vendor_id\t: Other
flags\t\t: fpu
"""
GRADIENT = """
import sys
import numpy as np
import interpretdl as it
model = it.lrp_model.efficientnet_lite0(pretrained=True)
found = [it.GradientInterpreter(model), it.LRPInterpreter(model), it.GradCAMInterpreter(model)]
np.savez(sys.argv[1], *[method.explain(sys.argv[2]).values for method in found])
"""


def test_the_first_processor_of_cpuinfo(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    found = this_processor(tmp_path / "cpuinfo")
    assert found.name == "AMD Ryzen 7 5800X 8-Core Processor"
    assert found.vendor == "AuthenticAMD"
    assert found.features == {"fpu", "sse2", "avx", "avx2"}


@pytest.mark.parametrize("text", [None, "", "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp\n"])
def test_systems_that_say_less(tmp_path: Path, text: str | None) -> None:
    """Not Linux, an empty file, and an Arm."""
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    found = this_processor(tmp_path / "cpuinfo")
    assert not found.vendor
    environment: dict[str, str] = {}
    assert use_fast_products(environment, found).startswith("not set")
    assert not environment


def test_amd_with_avx2() -> None:
    environment: dict[str, str] = {}
    assert use_fast_products(environment, AMD) == "in use: MKL_DEBUG_CPU_TYPE=5"
    assert environment == {VARIABLE: "5"}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Processor("Xeon", "GenuineIntel", AMD.features), "not needed: the processor is not AMD's"),
        (Processor("Opteron", "AuthenticAMD", frozenset({"sse2"})), "not set: .* no AVX2"),
    ],
)
def test_other_processors_are_left_alone(found: Processor, reason: str) -> None:
    environment: dict[str, str] = {}
    assert re.fullmatch(reason, use_fast_products(environment, found))
    assert not environment


@pytest.mark.parametrize("value", ["0", "off", "No", "FALSE"])
def test_the_switch(value: str) -> None:
    environment = {SWITCH: value}
    assert use_fast_products(environment, AMD) == f"off: {SWITCH}={value}"
    assert environment == {SWITCH: value}


@pytest.mark.parametrize("value", ["1", ""])
def test_a_switch_that_is_on(value: str) -> None:
    assert use_fast_products({SWITCH: value}, AMD).startswith("in use")


@pytest.mark.parametrize("value", ["4", ""])
def test_what_the_user_has_set_stays(value: str) -> None:
    environment = {VARIABLE: value}
    assert use_fast_products(environment, AMD) == f"as it was set: {VARIABLE}={value}"
    assert environment == {VARIABLE: value}


def test_the_maps_of_a_trained_network_stay(tmp_path: Path, root: Path) -> None:
    """On other processors than AMD's both are the same to the bit.

    Rounding puts a few activations on the other side of ReLU6's kinks, where the gradient jumps: in
    float32 it is 3e-3 from the one in float64 whichever code runs, and the two are no closer.
    """
    maps = {}
    for switch in "01":
        file = tmp_path / f"{switch}.npz"
        environment = {k: v for k, v in os.environ.items() if k != VARIABLE} | {SWITCH: switch}
        picture = str(root / "assets" / "chelsea.png")
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", GRADIENT, str(file), picture],
            env=environment, check=True, cwd=root, timeout=200,
        )  # fmt: skip
        maps[switch] = [values for _, values in sorted(np.load(file).items())]
    for slow, fast, limit in zip(maps["0"], maps["1"], (1e-2, 1e-4, 1e-4), strict=True):
        assert np.linalg.norm(fast - slow) <= limit * np.linalg.norm(slow)


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    out, err = capsys.readouterr()
    assert not err
    lines = dict(re.findall(r"^([^:]+): +(.+)$", out, re.MULTILINE))
    assert set(lines) >= {"interpretdl", "system", "Paddle", "processor", "threads", "free memory"}
    assert lines["engines"] in (
        "dygraph; onednn, onednn-bf16",
        "dygraph; no onednn: this Paddle was built without oneDNN",
    )
    assert float(lines["matrix products"].split()[0]) > 0
    assert lines["fast products on AMD"].split(":")[0] in ("in use", "not needed", "as it was set",
                                                           "off", "not set")  # fmt: skip

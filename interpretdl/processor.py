"""The processor, and the setting that lets Paddle's matrix products use it in full.

Paddle's wheels bring a version of Intel's MKL that runs slow code on AMD's processors, whatever
they can do. MKL_DEBUG_CPU_TYPE=5 makes it run its AVX2 code there: networks run about twice as
fast, and their numbers change in the last digits. MKL reads the variable at its first product.
"""

from __future__ import annotations

import os
import platform
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAST_PRODUCTS", "SWITCH", "Processor", "this_processor", "use_fast_products"]

SWITCH = "INTERPRETDL_AMD_FAST"
"""The environment variable that keeps interpretdl from setting MKL's: 0."""
_VARIABLE, _AVX2 = "MKL_DEBUG_CPU_TYPE", "5"


@dataclass(frozen=True)
class Processor:
    """What the system says of its first processor; empty where it does not.

    Attributes:
        name: such as "AMD EPYC 9654 96-Core Processor".
        vendor: "AuthenticAMD", "GenuineIntel", …
        features: instruction sets, such as "avx2".
    """

    name: str = ""
    vendor: str = ""
    features: frozenset[str] = frozenset()


def this_processor(cpuinfo: str | os.PathLike[str] = "/proc/cpuinfo") -> Processor:
    """This machine's processor, from a file as Linux has it; elsewhere only its name."""
    known: dict[str, str] = {}
    try:
        with Path(cpuinfo).open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    break  # the first of many
                name, _, value = line.partition(":")
                known[name.strip()] = value.strip()
    except OSError:  # not Linux
        return Processor(platform.processor())
    return Processor(
        known.get("model name", platform.processor()),
        known.get("vendor_id", ""),
        frozenset(known.get("flags", "").split()),
    )


def use_fast_products(
    environment: MutableMapping[str, str] | None = None, found: Processor | None = None
) -> str:
    """Set MKL's variable on AMD's processors with AVX2; one that the user has set stays.

    Args:
        environment: that of the process by default.
        found: this machine's processor by default.

    Returns:
        what was done, or why nothing was, in a few words.
    """
    environment = os.environ if environment is None else environment
    if environment.get(SWITCH, "").strip().lower() in ("0", "off", "no", "false"):
        return f"off: {SWITCH}={environment[SWITCH]}"
    if _VARIABLE in environment:
        return f"as it was set: {_VARIABLE}={environment[_VARIABLE]}"
    found = this_processor() if found is None else found
    if found.vendor != "AuthenticAMD":
        return "not needed: the processor is not AMD's" if found.vendor else "not set: no Linux"
    if "avx2" not in found.features:
        return "not set: the processor has no AVX2"
    environment[_VARIABLE] = _AVX2
    return f"in use: {_VARIABLE}={_AVX2}"


FAST_PRODUCTS = use_fast_products()
"""What `import interpretdl` did."""

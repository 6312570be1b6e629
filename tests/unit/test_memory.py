"""A thousand explanations in one process: no memory kept, nothing left on the model."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, warnings
warnings.simplefilter("ignore")
import numpy as np, paddle, psutil
import interpretdl as it
from interpretdl.testing import differences, small_network, state_of

rng = np.random.default_rng(0)
small = rng.normal(size=(1, 3, 12, 12)).astype("float32")
large = rng.normal(size=(1, 3, 128, 128)).astype("float32")
model, bigger = small_network(), it.lrp_model.resnet18()
model[0].weight.sum().backward()
before = state_of(model), state_of(bigger)

classes = (
    it.GradCAMInterpreter, it.GradientInterpreter, it.LRPInterpreter, it.GuidedBPInterpreter,
    it.DeepLIFTInterpreter, it.DeconvnetInterpreter,
)
options = [{}, {}, {"composite": "epsilon_plus"}, {}, {}, {}]
used, methods = [c(model) for c in classes], [c(bigger) for c in classes]

def work(k):
    n = k % len(classes)
    used[n].explain(small, label=k % 5, **options[n])
    classes[n](model).explain(small, label=k % 5, **options[n])  # fresh objects as well

resident = psutil.Process().memory_info

def round_of(n, m):
    for k in range(n // 2):
        work(k)
    for k in range(m):
        n = k % len(classes)
        methods[n].explain(large, label=k, **options[n])
    gc.collect()
    return resident().rss

start = round_of(40, 12)
grown = (round_of(1000, 60) - start) / 2**20
assert grown < 30, f"{grown:.1f} MB more"
for m, facts in zip((model, bigger), before):
    changed = differences(facts, state_of(m))
    assert not changed, changed
assert model[0].weight.grad is not None
print(f"{grown:.2f}")
"""


ATTENDING = """
import gc, warnings
warnings.simplefilter("ignore")
import numpy as np, psutil
import interpretdl as it
from interpretdl.testing import small_transformer

model = small_transformer(width=64)
x = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype("float32")
method = it.LRPInterpreter(model)

def rounds(n):
    for k in range(n):
        method.explain(x, label=k % 5, composite=("attn_lrp", "cp_lrp")[k % 2])
        if k % 4 == 0:
            method.audit(x, label=k % 5, composite="attn_lrp")
    gc.collect()
    return psutil.Process().memory_info().rss

start = rounds(20)
grown = (rounds(120) - start) / 2**20
assert grown < 30, f"{grown:.1f} MB more"
print(f"{grown:.2f}")
"""


@pytest.mark.parametrize("program", [PROGRAM, ATTENDING], ids=["all", "transformer"])
def test_a_thousand_explanations(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]

"""What a type checker sees of `explain` and `interpret`: right calls pass, wrong ones do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CALLS = """
import numpy as np
import paddle
import interpretdl as it

m, x = paddle.nn.Sequential(), np.zeros((1, 3, 8, 8), np.float32)
e: it.Explanation = it.GradCAMInterpreter(m).explain(x, "layer4", label=3)
it.GradCAMInterpreter(m).explain(x, target_layer_name="layer4", label="cat")
it.GradCAMInterpreter(m).explain(x, "layer4", "cat")
it.GradientInterpreter(m).explain(x, 3, times_input=True, gradient_of="loss")
it.LRPInterpreter(m).interpret("cat.png", label=None, visual=True, save_path=None)
it.IntegratedGradientsInterpreter(m).interpret(x, None, x, 50)
it.GradientInterpreter(m).explain(x, times_inptu=True)  # wrong
it.IntegratedGradientsInterpreter(m).interpret(x, steps="3")  # wrong
it.LRPInterpreter(m).explain(x, label=3, gradient_of="logits")  # wrong
it.GradCAMInterpreter(m).explain(x, target_layer="layer4")  # wrong
it.GradCAMInterpreter(m).interpret(x, 3, visual="no")  # wrong
it.SmoothGradInterpreter(m).explain(x, steps=3)  # wrong


class Mine(it.Interpreter):
    def attribute(self, x: it.probe.Array, target: object, *, factor: float = 2) -> it.probe.Array:
        return x * factor


Mine(m).explain(x, factor=3.0)
Mine(m).explain(x, factor="3")  # wrong
Mine(m).explain(x, facto=3.0)  # wrong
"""


def test_mypy_sees_wrong_arguments(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "calls.py"
    file.write_text(CALLS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(file)],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
        timeout=240,  # mypy without a cache
    )
    wrong = [i for i, line in enumerate(CALLS.splitlines(), 1) if line.endswith("# wrong")]
    # mypy's cache may know the file by the name that it had in an earlier run
    seen = {int(line) for line in re.findall(r"calls\.py:(\d+): error: ", done.stdout)}
    assert seen == set(wrong), done.stdout

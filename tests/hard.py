"""The suite where little is as usual, all at once: `make test-hard`.

In the background of a script (no terminal, nothing to read, Ctrl-C ignored), from a folder with a
space and a letter beyond ASCII and with temporary files in such a folder, with LANG=C, without
HOME, with OMP_NUM_THREADS=8, without pytest's cache, in random order, and as another user where
root gives one.
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def copied(target: Path) -> None:
    """The checkout's files, those that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git
        capture_output=True, check=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tests under hard conditions.")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the order")
    parser.add_argument("--user", help="who runs the tests; only root can say")
    options, arguments = parser.parse_known_args()
    print(f"tests under hard conditions, SEED={options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "ä b")
        copied(place / "interpretdl")
        (place / "tmp").mkdir()
        user: dict[str, Any] = {}
        if options.user:
            entry = pwd.getpwnam(options.user)
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        environment = {k: v for k, v in os.environ.items() if k != "HOME" and k[:3] != "LC_"}
        environment |= {"LANG": "C", "OMP_NUM_THREADS": "8", "TMPDIR": str(place / "tmp")}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        command += ["-p", "randomly", f"--randomly-seed={options.seed}", *arguments]
        try:
            return subprocess.run(
                command,
                cwd=place / "interpretdl",
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
                **user,
            ).returncode
        except PermissionError as error:
            print(f"{options.user} may not run {error.filename}: make the environment, in a clone "
                  "that everybody may read, with a Python that everybody may run")  # fmt: skip
            return 2


if __name__ == "__main__":
    sys.exit(main())

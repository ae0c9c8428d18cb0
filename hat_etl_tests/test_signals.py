"""A signal ends the command at any moment, with the exit code that tells which it was, and without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def ended(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, which finds modules in ``folder``, too."""
    places = os.pathsep.join(map(str, (folder, *sys.path)))
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_exit_code_tells_the_signal_that_came_in_the_middle_of_an_import(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Python remembered that a KeyboardInterrupt had left an exec, as of a dataclass, and made SIGINT of SIGTERM."""
    (tmp_path / "stopped.py").write_text(
        "import click\n"
        "from hat_etl.cli.main import HatEtlGroup\n"
        f"code = 'import os, signal; os.kill(os.getpid(), {number:d}); signal.pause()'\n"
        "stop = click.Command('stop', callback=lambda: exec(code))\n"
        "HatEtlGroup(commands={'stop': stop})(['stop'])\n",
        encoding="ascii",
    )
    came = ended("-m", "stopped", folder=tmp_path)
    assert (came.returncode, came.stderr) == (128 + number, "\nBroken off.\n")


def test_ctrl_c_before_the_command_listens_ends_it_without_a_word(tmp_path: Path) -> None:
    """The traceback of an import was all that a quick Ctrl-C left."""
    (tmp_path / "click.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()\n", encoding="ascii"
    )
    came = ended("-m", "hat_etl", "--help", folder=tmp_path)
    assert (came.returncode, came.stdout + came.stderr) == (-signal.SIGINT, "")

"""Interleaved runs of whole processes: seconds, and peak memory of the largest process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.contenders import Contender


@dataclass
class Result:
    """What one contender's runs took."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def peak(self) -> float:
        return max(self.peak_mib)


def race(contenders: Sequence[Contender], runs: int, prepare: Callable[[str], None]) -> list[Result]:
    """Run the contenders in turn, ``runs`` times after one round that is not counted.

    ``prepare`` executes a contender's statements before each of its runs. Raises RuntimeError when a run fails.
    """
    results = [Result(contender.name) for contender in contenders]
    for turn in range(runs + 1):
        for contender, result in zip(contenders, results, strict=True):
            if contender.before:
                prepare(contender.before)
            seconds, peak = _run(contender)
            print(f"{turn or 'warm-up'}: {contender.name} {seconds:.1f} s, {peak:.0f} MiB", file=sys.stderr)
            if turn:
                result.seconds.append(seconds)
                result.peak_mib.append(peak)
    return results


# A process's peak memory begins with that of the process it was forked from: so a small one does the forking.
_LAUNCHER = """
import os, sys, time
started = time.monotonic()
_, status, usage = os.wait4(os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
with open(sys.argv[1], "w") as file:
    print(time.monotonic() - started, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=file)
"""


def _run(contender: Contender) -> tuple[float, float]:
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile("r") as measured:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, measured.name, *contender.command],
            env=os.environ | contender.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )
        seconds, peak_kib, code = measured.read().split()
        if code != "0":
            output.seek(0)
            raise RuntimeError(f"{contender.name} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    return float(seconds), int(peak_kib) / 1024

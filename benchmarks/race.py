"""Interleaved runs of whole processes: seconds, and peak memory of the largest process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
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


def _run(contender: Contender) -> tuple[float, float]:
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            contender.command, env=os.environ | contender.environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{contender.name} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss / 1024

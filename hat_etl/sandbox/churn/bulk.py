"""What ``hat-etl sandbox churn`` does."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox import command
from hat_etl.sandbox.churn.activity import Activity
from hat_etl.sandbox.churn.operations import ENDS, LABELS
from hat_etl.sandbox.churn.performing import apply
from hat_etl.sandbox.churn.planning import check_labels, mixture
from hat_etl.sandbox.server import PLS, Sandbox


@dataclass
class Report:
    """How many rows each kind of activity wrote, per table; and in how many seconds."""

    seed: int
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(sum(tables.values()) for tables in self.rows.values())

    def as_dict(self) -> dict[str, object]:
        return {"seed": self.seed, "total": self.total, "seconds": round(self.seconds, 3), "rows": self.rows}


def churn(folder: Path, changes: int, seed: int, kinds: Collection[str] = ()) -> Report:
    """Change about ``changes`` rows of the sandbox in ``folder``, which is started if need be.

    Raises ConfigurationError where there is no sandbox, or for a kind (``LABELS``) or number that cannot be.
    """
    check_labels(kinds)
    if changes < 1 or seed < 0:
        raise ConfigurationError(
            f"A sandbox cannot make {changes} changes with seed {seed}.", "Ask for at least one change, seed 0 or more."
        )
    manifest = command.read_manifest(folder)
    if manifest is None:
        raise ConfigurationError(f"There is no sandbox in {folder}.", "Make one: hat-etl sandbox up.")
    begun = time.monotonic()
    report, counts = Report(seed), dict[tuple[str, str], int]()
    with Activity(Sandbox.up(folder).url(PLS, "postgres"), manifest.company) as activity:
        for operation in mixture(seed, changes, manifest.rows, kinds):
            written = len(apply(operation, activity))
            if operation.kind not in ENDS and written:
                place = operation.label, operation.alias
                counts[place] = counts.get(place, 0) + written
    for label in LABELS:
        tables = {alias: counts[label, alias] for alias in manifest.rows if (label, alias) in counts}
        if tables:
            report.rows[label] = tables
    report.seconds = time.monotonic() - begun
    return report

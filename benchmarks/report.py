"""The report that ``make bench`` writes: tables and bars."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date

from benchmarks.race import Result

_BAR = 40


def render(rows: int, table: str, one: Sequence[Result], whole: Sequence[Result], missing: Sequence[str]) -> str:
    """The report as Markdown. Ratios are of medians, to hat_etl's."""
    parts = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {date.today():%Y-%m-%d}: {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, PostgreSQL 18 as ERP and as target in one embedded server,"
        f" {rows:,} beneficiaries. Runs are interleaved, each a process of its own from start to end; medians are"
        " quoted, and ratios count more than seconds.",
        "",
        "*limit (psql COPY)* is the transport limit: `psql` to `psql` in binary COPY and the same primary key, with no"
        " cleaning, no checks, no references, no quarantine and no swap. hat_etl does all of these in its time.",
        "",
        "*hat_etl reconcile* compares the loaded table with the ERP: it reads the view whole, transforms it and sets"
        " every row and column against HAT.",
        "",
        f"## One table: {table}, a view over the 146 columns of BA1",
        "",
        "Its first load: HAT has the tables that it refers to, and none yet that refer to it.",
        "",
        *_section(one),
    ]
    if whole:
        parts += [
            "## Whole tenant: all 43 tables",
            "",
            f"*{table} again* loads that table alone into the full HAT: the references of all tables that refer to it"
            " are checked anew before it is shown.",
            "",
            *_section(whole),
        ]
    if missing:
        parts += [f"Not measured: {', '.join(missing)} (`make bench-peers` installs the peers).", ""]
    return "\n".join(parts)


def _section(results: Sequence[Result]) -> list[str]:
    ours = results[0].median
    longest = max(result.median for result in results)
    lines = ["| | median s | min - max s | time / hat_etl | peak MiB |", "|--|--:|--:|--:|--:|"]
    for result in results:
        span = f"{min(result.seconds):.1f} - {max(result.seconds):.1f}"
        lines.append(
            f"| {result.name} | {result.median:.1f} | {span} | {result.median / ours:.2f} | {result.peak:.0f} |"
        )
    width = max(len(result.name) for result in results)
    bars = [f"{r.name:<{width}} {'█' * max(1, round(_BAR * r.median / longest))} {r.median:.1f} s" for r in results]
    return [*lines, "", "```", *bars, "```", ""]

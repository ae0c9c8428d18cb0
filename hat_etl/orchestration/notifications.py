"""Who is told of failed runs and late tenants: to e-mail, Teams, Slack or a webhook, through Apprise."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterInstance, RunsFilter
from dagster._core.definitions.run_request import DagsterRunReaction
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG, WILL_RETRY_TAG

if TYPE_CHECKING:
    from apprise import Apprise

TARGETS_VARIABLE = "HAT_ETL_NOTIFY"
"""Addresses as Apprise writes them, one per line or apart by blanks: they hold secrets."""
BOARD_VARIABLE = "HAT_ETL_BOARD"
"""Address of the web server, for links."""
CAUSE_TAG = "hat/cause"
"""Tag of a failed run: a number for its cause, by which repetitions are known."""
REPEATED_TAG = "hat/repeated"
"""Tag of a failed run: how often in a row its cause had come."""
REFUSED_TAG = "hat/notification-refused"
"""Tag of a failed run: a target could not be told of it, and hears of the next one that fails like it."""
SLOW, REST = 2.0, 60.0
"""Seconds that a target may take to refuse, and for which it is left alone when it takes longer. A tick tells of five
runs: were the target waited for each time, Dagster would give it up after a minute, and the next one begin anew.
"""
LONG = 8.0
"""Seconds after which a tick tells of no further run, if one took so long: the next tick does."""
REFUSED = f"A notification was refused by one of the targets in {TARGETS_VARIABLE}."


@dataclass(frozen=True)
class Failure:
    """A failed run. ``cause`` holds no value of the data: it is what the run itself told Dagster."""

    tenant: str
    """Empty when the run was of none: housekeeping, or one that was launched without a partition."""
    job: str
    run_id: str
    cause: str
    repeated: int
    """How many runs of this job and tenant in a row have failed for this cause, this one included."""
    was_refused: bool = False
    """Whether a target could not be told of the one before."""

    @property
    def is_told(self) -> bool:
        """The first is told, then the second, fourth, eighth and so on: nobody reads the same line every 15 minutes."""
        return self.was_refused or self.repeated & (self.repeated - 1) == 0

    @property
    def title(self) -> str:
        times = f" ({self.repeated} times in a row)" if self.repeated > 1 else ""
        whose = f" of {self.tenant}" if self.tenant else ""
        return f"hat_etl: {self.job}{whose} failed{times}"

    @property
    def body(self) -> str:
        board = os.environ.get(BOARD_VARIABLE, "").rstrip("/")
        link = f"{board}/runs/{self.run_id}" if board else f"run {self.run_id} in Dagster"
        return f"{self.cause}\n\n{link}"


def fingerprint(cause: str) -> str:
    """A short name for a cause: numbers in it do not count, for runs and rows differ from time to time."""
    text = "".join(character for character in cause if not character.isdigit())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def judge_failure(instance: DagsterInstance, run: dg.DagsterRun, cause: str) -> Failure:
    """What is to be said of a failed run; its cause is noted at the run, and how often in a row it has come."""
    tenant, mark = run.tags.get(PARTITION_NAME_TAG, ""), fingerprint(cause)
    record = instance.get_run_record_by_id(run.run_id)
    ended = RunsFilter(
        job_name=run.job_name,
        tags={PARTITION_NAME_TAG: tenant} if tenant else {},
        statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE],
        created_before=record.create_timestamp if record else None,
    )
    before = next((found for found in instance.get_runs(ended, limit=2) if found.run_id != run.run_id), None)
    repeated, was_refused = 1, False
    if before and before.status == DagsterRunStatus.FAILURE and before.tags.get(CAUSE_TAG) == mark:
        repeated = int(before.tags.get(REPEATED_TAG, 1)) + 1
        was_refused = REFUSED_TAG in before.tags
    instance.add_run_tags(run.run_id, {CAUSE_TAG: mark, REPEATED_TAG: str(repeated)})
    return Failure(tenant, run.job_name, run.run_id, cause, repeated, was_refused)


def targets() -> dict[str, str]:
    """The addresses that are to be told, by mark: a short name of an address, which holds secrets."""
    found = os.environ.get(TARGETS_VARIABLE, "").split()
    return {hashlib.sha256(target.encode()).hexdigest()[:12]: target for target in found}


def send(title: str, body: str, only: Collection[str] | None = None, refusing: Collection[str] = ()) -> list[str]:
    """Tell everybody who wants to know, or of these ``only``; gives the targets that have refused, as marks.

    None waits for another: a mail server that does not answer takes a quarter of a minute. Those that are ``refusing``
    count so without a try.
    """
    from apprise import Apprise, AppriseAsset

    wanted = {mark: target for mark, target in targets().items() if only is None or mark in only}
    senders: dict[str, Apprise] = {}
    for mark, target in wanted.items():
        # No telling of the address in Apprise's own log, no identifying of us to others.
        sender = Apprise(asset=AppriseAsset(secure_logging=True, app_id="hat_etl"))
        if mark not in refusing and sender.add(target):
            senders[mark] = sender
    with ThreadPoolExecutor(max(1, len(senders)), thread_name_prefix="hat-tell") as pool:
        taken = {mark: pool.submit(_is_taken, mark, sender, title, body) for mark, sender in senders.items()}
    return [mark for mark in wanted if mark not in taken or not taken[mark].result()]


def _is_taken(mark: str, sender: Apprise, title: str, body: str) -> bool:
    began = time.monotonic()
    is_taken = bool(sender.notify(title=title, body=body))
    if not is_taken and time.monotonic() - began > SLOW:
        _resting[mark] = time.monotonic() + REST
    return is_taken


_resting: dict[str, float] = {}
"""Targets that are left alone, by mark, and until when."""


def resting() -> set[str]:
    """The targets that have taken long to refuse, a moment ago."""
    return {mark for mark, until in _resting.items() if time.monotonic() < until}


@dg.run_failure_sensor(
    name="tell_failures",
    description=f"Tells of failed runs at the addresses in {TARGETS_VARIABLE}. Repetitions of one cause are told at"
    " the second, fourth, eighth time and so on.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def tell_failures(context: dg.RunFailureSensorContext) -> DagsterRunReaction | None:
    began = time.monotonic()
    told = judge_failure(context.instance, context.dagster_run, _cause(context))
    if told.is_told and send(told.title, told.body, refusing=resting()):
        context.instance.add_run_tags(told.run_id, {REFUSED_TAG: "yes"})
        context.log.error(REFUSED)
    # What is given back ends the tick behind this run; else Dagster says the same of it, and goes on.
    is_last = time.monotonic() - began > LONG
    return DagsterRunReaction(context.dagster_run, run_status=DagsterRunStatus.FAILURE) if is_last else None


def _cause(context: dg.RunFailureSensorContext) -> str:
    """What ended the run: the failure of its step, or what Dagster says of a run whose process is gone."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data.user_failure_data
        if data is not None and data.description:
            return data.description
        return f"Step {event.step_key} failed. Next step: open the run in Dagster."
    run = context.instance.get_run_by_id(context.dagster_run.run_id)
    goes_on = run is not None and run.tags.get(WILL_RETRY_TAG) == "true"
    step = "none: Dagster launches it once more by itself." if goes_on else "launch it again; nothing is lost."
    return f"{context.failure_event.message} Next step: {step}"

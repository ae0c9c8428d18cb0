"""What ends a run in Dagster: cause and next step, never a value of the data nor a secret."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from hat_etl.errors import HatEtlError, WindowClosed
from hat_etl.orchestration.openings import GOES_ON

if TYPE_CHECKING:
    from hat_etl.sync.run import Problem

DECISION = (
    "In Dagster: launch the job again from the launchpad; what the next step calls --resume, --restart,"
    " --accept-shrink, --accept or --outside-windows is a field of the form there (mode: resume, mode: restart,"
    " accept_shrink: true, accept: true, outside_windows: true)."
)


@contextmanager
def explained(tenant: str, decision: str = DECISION) -> Iterator[None]:
    """Turn whatever the block raises into a Failure that is not retried.

    ``decision``: how to take in Dagster the decision that an error asks for.

    Dagster stores the text of an exception and of those behind it. What nobody foresaw may quote values of the data,
    so of such an error only its type and the places it went through are kept.
    """
    try:
        yield
    except dg.Failure:
        raise
    except HatEtlError as error:
        raise known(error, decision) from None
    except Exception as error:  # noqa: BLE001 - the last door: whatever comes is reported without values
        raise unforeseen(tenant, error) from None


def tenant_of(context: dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str:
    """The tenant of the run. Raises Failure when it was launched without one, which Dagster's forms allow."""
    if not context.has_partition_key:
        raise dg.Failure(
            "The run was launched without a tenant, and has done nothing. Next step: launch it again, and choose the"
            " tenant under Partition.",
            metadata={"kind": "configuration"},
            allow_retries=False,
        )
    return context.partition_key


def left_out(tenant: str, problems: Sequence[Problem]) -> dg.Failure:
    """The Failure of a run that has committed, but without some tables."""
    told = {problem.table: f"{problem.message} Next step: {problem.next_step}" for problem in problems}
    return dg.Failure(
        f"{tenant}: {len(told)} tables were left out: {', '.join(told)}. The others are committed.",
        metadata={"kind": "data", "tenant": tenant, **told},
        allow_retries=False,
    )


def known(error: HatEtlError, decision: str = DECISION) -> dg.Failure:
    """The Failure of an error that says what to do; ``decision`` as above."""
    metadata = {name: value for name, value in error.as_dict().items() if value is not None}
    text = str(error)
    if error.kind == "decision":
        metadata["in_dagster"] = decision
        text = f"{text} {decision}"
    return dg.Failure(text, metadata=metadata, allow_retries=False)


def window_closed(error: WindowClosed) -> dg.Failure:
    """The Failure of a run that goes on by itself when its tenant's window opens."""
    return dg.Failure(
        f"{error.tenant}: {error.cause} {GOES_ON}",
        metadata={"kind": "window", "tenant": error.tenant or "", "cause": error.cause, "next_step": GOES_ON},
        allow_retries=False,
    )


def unforeseen(tenant: str, error: Exception) -> dg.Failure:
    """The Failure of an error that nobody foresaw."""
    places = [f"- {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return dg.Failure(
        f"{tenant}: unexpected {type(error).__name__}. Next step: please report the places below.",
        metadata={
            "kind": "internal",
            "tenant": tenant,
            "cause": f"Unexpected {type(error).__name__}.",
            "next_step": "Please report the places below.",
            "places": dg.MetadataValue.md("\n".join(places)),
        },
        allow_retries=False,
    )

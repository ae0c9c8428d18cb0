"""A load that was broken off: whether the next one goes on with it, by what a person has asked."""

from __future__ import annotations

from hat_etl import __version__
from hat_etl.errors import DecisionNeeded
from hat_etl.sync.request import LoadRequest
from hat_etl.target import staging
from hat_etl.target.database import Connection
from hat_etl.target.staging import Stage
from hat_etl.tenants.config import Tenant


def take_up(control: Connection, tenant: Tenant, request: LoadRequest) -> Stage | None:
    """The unfinished load to go on with, or None for a new one; what is staged of another is thrown away.

    Raises DecisionNeeded where the request does not fit the load that is there.
    """
    stage = staging.find(control)
    if stage is None or request.restart:
        staging.drop(control)
        return None
    if not request.resume:
        raise DecisionNeeded(
            f"Load {stage.run} of this tenant was broken off; what it staged is still there.",
            f"Go on with it: hat-etl load {tenant.name} --resume. Or begin anew: hat-etl load {tenant.name} --restart",
            tenant=tenant.name,
        )
    if stage.version != __version__:
        raise DecisionNeeded(
            f"The unfinished load {stage.run} was begun by hat_etl {stage.version}, and this is {__version__}: rows by"
            " the rules of both would stand side by side.",
            f"Begin anew: hat-etl load {tenant.name} --restart",
            tenant=tenant.name,
        )
    if request.only and set(request.only) != set(stage.tables):
        raise DecisionNeeded(
            f"The unfinished load {stage.run} is of other tables: {', '.join(stage.tables)}.",
            "Resume it without --only, or begin anew with --restart.",
            tenant=tenant.name,
        )
    return stage

"""Commands about a lot, as next steps name them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hat_etl.billing.store import Lot


def about(tenant: str, lot: Lot, verb: str, *options: str) -> str:
    """A command that works as it stands: several providers may use one number."""
    return shlex.join(["hat-etl", "billing", verb, tenant, lot.batch_number, *options, "--provider", lot.provider])

"""From raw batches to rows of HAT: pure functions on Arrow that clean, convert and check, one column at a time."""

from __future__ import annotations

import hat_etl.pandas_free  # noqa: F401 - before any array is made
from hat_etl.transform.engine import Transformed, Transformer, rejected_schema
from hat_etl.transform.findings import ISSUES

__all__ = ["ISSUES", "Transformed", "Transformer", "rejected_schema"]

"""Activity in a PLS: seeded changes of every kind, those above all for which naive incremental tools lose rows."""

from hat_etl.sandbox.churn.activity import Activity
from hat_etl.sandbox.churn.operations import LABELS, Clock, Kind, Operation
from hat_etl.sandbox.churn.performing import apply, serves
from hat_etl.sandbox.churn.planning import generate, mixture

__all__ = ["LABELS", "Activity", "Clock", "Kind", "Operation", "apply", "generate", "mixture", "serves"]

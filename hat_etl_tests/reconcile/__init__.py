"""Reconciliation: what it finds, what it leaves alone, what it mends."""

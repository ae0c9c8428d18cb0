"""Tenants for these tests: those of the conformance tests."""

from hat_etl_tests.conformance.conftest import make_site, plain_site, today

__all__ = ["make_site", "plain_site", "today"]

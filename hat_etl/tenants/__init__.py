"""Tenants: one small TOML file for each health operator, and references to its secrets."""

"""The certificates that web servers are judged by: read once, which takes a tenth of a second."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """For every client of web servers; threads may share it."""
    return httpx.create_ssl_context()

"""Files of lots, by signed address: only from allowed hosts, only so large, never by a redirect, byte by byte."""

from __future__ import annotations

import fnmatch
import random
import time
from typing import ClassVar

import httpx

from hat_etl.errors import HatApiError
from hat_etl.hat_api.bodies import LotItem
from hat_etl.hat_api.patience import within
from hat_etl.hat_api.tls import trusted
from hat_etl.hat_api.transport import LONGEST_PAUSE
from hat_etl.tenants.config import Tenant

_MIB = 1 << 20
_ERROR_DOCUMENT = 4096
"""Bytes up to which a body is searched for the words of an error; a lot is longer."""


_WHOLE = 10
"""How much longer than a piece of it a file may take: it may be large, and the line slow."""


class NotDownloaded(HatApiError):
    """A file could not be had. ``code`` is stable; neither cause nor next step shows the address."""

    code: ClassVar[str] = "download"


class HostNotAllowed(NotDownloaded):
    code = "host_not_allowed"


class Redirected(NotDownloaded):
    code = "redirected"


class TooLarge(NotDownloaded):
    code = "too_large"


class NotThere(NotDownloaded):
    code = "not_there"


class Files:
    """Downloads of one tenant. Threads may share it; ``close`` it at the end."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant.name
        self._hosts = tenant.billing.download_hosts
        self._limit = tenant.billing.max_lot_mib * _MIB
        self._settings = tenant.hat.api
        self._client = httpx.Client(
            timeout=self._settings.timeout_seconds,
            event_hooks=within(_WHOLE * self._settings.timeout_seconds),
            verify=trusted(),
            follow_redirects=False,
            # What arrives is what is kept: nothing is unpacked on the way.
            headers={"Accept-Encoding": "identity", "User-Agent": "hat_etl"},
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=4),
        )

    def close(self) -> None:
        self._client.close()

    def fetch(self, lot: LotItem) -> bytes:
        """The bytes of a lot's file. Raises NotDownloaded."""
        address = self._address(lot)
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return self._once(address)
            except httpx.HTTPError as error:
                why = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
                if attempt == self._settings.attempts:
                    raise self._failed(NotDownloaded, f"does not arrive ({why or type(error).__name__})") from None
            pause = self._settings.pause_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            time.sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("at least one attempt is made")

    def _address(self, lot: LotItem) -> httpx.URL:
        # A # would end the address, and with it the signature; in the name of a file it is a character like others.
        path = (lot.azure_storage_file_path or "").strip().replace("#", "%23")
        if not path:
            raise self._failed(NotThere, "has no address in HAT")
        signature = (
            lot.azure_storage_sas_token.get_secret_value().strip().lstrip("?&") if (lot.azure_storage_sas_token) else ""
        )
        joint = "" if not signature else "&" if "?" in path else "?"
        try:
            # Blanks of the path become %20 here; what is encoded already stays as it is.
            address = httpx.URL(path + joint + signature)
        except (httpx.InvalidURL, ValueError):
            raise self._failed(NotThere, "has an address that is none") from None
        if not self._is_allowed(address):
            raise self._failed(HostNotAllowed, f"lies on host {_shown(address.host)}, which is not allowed")
        return address

    def _is_allowed(self, address: httpx.URL) -> bool:
        if address.userinfo:
            return False
        for host in self._hosts:
            if host.startswith("http://"):
                if f"http://{address.host}:{address.port}" == host and address.scheme == "http":
                    return True
            elif address.scheme == "https" and address.port is None and fnmatch.fnmatchcase(address.host, host):
                return True
        return False

    def _once(self, address: httpx.URL) -> bytes:
        with self._client.stream("GET", address) as response:
            code = response.status_code
            if response.is_redirect:
                raise self._failed(Redirected, f"is somewhere else by now (HTTP {code}), where nobody follows")
            if 400 <= code < 500 and code not in (408, 429):
                raise self._failed(NotThere, f"is refused or not there (HTTP {code})")
            response.raise_for_status()
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise self._failed(NotDownloaded, "comes packed, which nobody asked for")
            content = bytearray()
            for piece in response.iter_raw():
                content += piece
                if len(content) > self._limit:
                    raise self._failed(TooLarge, f"has more than {self._limit // _MIB} MiB")
        if not content:
            raise self._failed(NotThere, "is empty")
        if len(content) <= _ERROR_DOCUMENT and b"PARENTNOTFOUND" in content.upper():
            raise self._failed(NotThere, "is an error of the store (PARENTNOTFOUND)")
        return bytes(content)

    def _failed(self, kind: type[NotDownloaded], what: str) -> NotDownloaded:
        return kind(
            f"The file of the lot {what}.",
            {
                HostNotAllowed: "If that host is HAT's, add it to download_hosts under [billing].",
                TooLarge: "If lots may be that large, raise max_lot_mib under [billing].",
            }.get(kind, f"It is tried again with the next: hat-etl billing pull {self._tenant}"),
            self._tenant,
        )


def _shown(host: str) -> str:
    """A host as it may be shown: letters, digits and dots."""
    return host if host and all(c.isalnum() or c in ".-:" for c in host) and len(host) < 100 else "(odd)"

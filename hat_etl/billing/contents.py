"""The bytes of lots outside the tenant database, where the tenant's file names a store for them.

An object's name is made of provider, lot and SHA-256: written twice it is the same. It is written, and read back,
before the row that names it commits; one that no row names is left of a pull that broke off, and does no harm.
"""

from __future__ import annotations

import hashlib
from threading import Lock
from urllib.parse import urlsplit

from hat_etl.billing.objects import Failed, Gone, ObjectStore, safe_name
from hat_etl.billing.work import Breaker
from hat_etl.errors import DataError, TargetError
from hat_etl.tenants.config import Tenant


class OutOfReach(TargetError):
    """The store of the bytes cannot be reached, or does not let us."""


class Contents:
    """The bytes of a tenant's lots; threads may share it. Raises ConfigurationError as ``ObjectStore`` does."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._lock = Lock()
        self._stores: dict[str, ObjectStore] = {}
        self._breaker = Breaker()

    def put(self, provider: str, batch_number: str, content: bytes) -> str | None:
        """Keep the bytes of a lot; gives the URL where they lie, None where the tenant database is to keep them.

        Raises OutOfReach unless they are there, and read back the same.
        """
        url = self._tenant.billing.store
        if url is None:
            return None
        digest = hashlib.sha256(content).hexdigest()
        place = f"{url}/{safe_name(provider, batch_number, digest)}.xml"
        try:
            self._write(place, content)
        except Failed as error:
            raise OutOfReach(
                f"The bytes of lot {batch_number} of provider {provider} cannot be kept in {url}: {error}.",
                "The lot waits in HAT until they can. See that the store is up, and that [billing] store and"
                f" store_options are right: hat-etl doctor {self._tenant.name}",
                self._tenant.name,
            ) from None
        return place

    def get(self, place: str, provider: str, batch_number: str) -> bytes:
        """The bytes that lie at ``place``. Raises DataError when they are gone, OutOfReach."""
        which = f"lot {batch_number} of provider {provider}"
        try:
            if self._breaker.is_open:
                raise Failed(self._breaker.why)
            store, name = self._at(place)
            content = store.read(name)
        except Gone:
            raise DataError(
                f"What was pulled of {which} is gone: there is no {place}.",
                "Restore the object, from a version or a backup of the store; nothing of the lot is sent until then.",
                self._tenant.name,
            ) from None
        except Failed as error:
            self._breaker.note(down=True, why=error.why)
            raise OutOfReach(
                f"What was pulled of {which} cannot be read from {place}: {error.why}.",
                "It is tried again with the next run. See that the store is up, and that [billing] store_options are"
                f" right: hat-etl doctor {self._tenant.name}",
                self._tenant.name,
            ) from None
        self._breaker.note(down=False)
        return content

    def probe(self, url: str) -> None:
        """Write a small object to a store, read it and delete it. Raises OutOfReach."""
        place = f"{url}/hat-etl-doctor"
        try:
            self._write(place, b"hat-etl doctor")
            store, name = self._at(place)
            store.remove(name)
        except (Failed, Gone) as error:
            raise OutOfReach(
                f"A small object cannot be written to {place}, read and deleted again: {error}.",
                "See that the store is up, that the bucket is there, and that [billing] store and store_options are"
                " right.",
                self._tenant.name,
            ) from None

    def _write(self, place: str, content: bytes) -> None:
        """Write an object, and see that it reads back the same. Raises Failed."""
        store, name = self._at(place)
        store.write(name, content)
        try:
            found = store.read(name)
        except Gone:
            raise Failed("what was written is not there") from None
        if found != content:
            raise Failed("what was written reads back otherwise")

    def _at(self, place: str) -> tuple[ObjectStore, str]:
        """The store of a URL, and the object's name in it."""
        parts = urlsplit(place)
        root = f"{parts.scheme}://{parts.netloc}/"
        with self._lock:
            if root not in self._stores:
                self._stores[root] = ObjectStore(root, self._options(parts.scheme), self._tenant.name)
            return self._stores[root], parts.path.lstrip("/")

    def _options(self, scheme: str) -> dict[str, object]:
        """Those of the file are for the service that it names; without one, for wherever bytes lie."""
        billing = self._tenant.billing
        return billing.store_options if billing.store is None or urlsplit(billing.store).scheme == scheme else {}

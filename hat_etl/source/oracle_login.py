"""The way into an Oracle database, as a tenant's file describes it: address, account, tnsnames.ora and wallet."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import oracledb

from hat_etl.errors import ConfigurationError
from hat_etl.source import oracle_client
from hat_etl.tenants import oracle_address
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress

CONNECT_SECONDS = 15.0
KEEPALIVE_MINUTES = 1
"""How long a connection is silent before it is probed."""
_PACKET_BYTES = 65_535
"""Size of a network packet that is asked for, eight times the usual; the server grants what its own settings allow.
Each packet costs a system call and, among threads, a wait for the interpreter."""

_WALLET = "ewallet.pem"


@dataclass(frozen=True)
class OracleLogin:
    """What it takes to log in for a tenant."""

    tenant: str
    address: OracleAddress
    tns_admin: str | None = None
    """Folder of ``tnsnames.ora``; None is where the driver looks by itself."""
    wallet_password: str = field(default="", repr=False)
    client_library: str | None = None
    """Folder of Oracle's own client libraries: with it the driver is thick, else thin."""

    @classmethod
    def of(cls, tenant: Tenant, address: OracleAddress | None = None) -> OracleLogin:
        """As the tenant's file says; ``address`` stands in for the one there.

        Raises ConfigurationError when a secret is missing, or is no address.
        """
        erp = tenant.erp
        return cls(
            tenant.name,
            address or oracle_address.address(tenant.name, "erp.url", erp.url),
            # The driver looks at the variable too, but only when it is imported.
            str(erp.tns_admin) if erp.tns_admin else os.environ.get("TNS_ADMIN") or oracledb.defaults.config_dir,
            erp.wallet_password.resolve() if erp.wallet_password else "",
            str(erp.client_library) if erp.client_library else None,
        )

    def connect(self) -> oracledb.Connection:
        """A new connection. Raises oracledb.Error or OSError.

        Raises ConfigurationError when wallet or client libraries cannot be used.
        """
        oracle_client.settle(self.tenant, self.client_library, self.tns_admin)
        if self.client_library is None:  # the libraries know wallets of their own kind
            self._try_wallets()
        try:
            return oracledb.connect(
                user=self.address.user,
                password=self.address.password,
                dsn=self.address.connect_string,
                config_dir=self.tns_admin,
                wallet_password=self.wallet_password,  # without one, OpenSSL would ask whoever sits at the terminal
                tcp_connect_timeout=CONNECT_SECONDS,
                expire_time=KEEPALIVE_MINUTES,
                sdu=_PACKET_BYTES,
                program="hat_etl",
            )
        except UnicodeError:  # of Python's, for a host with two full stops in a row
            raise OSError("no host can have this name") from None

    def _try_wallets(self) -> None:
        """Try the private keys: the driver goes on without one that it cannot use, and the server refuses it later."""
        parsed = oracledb.ConnectParams(config_dir=self.tns_admin)
        parsed.parse_connect_string(self.address.connect_string)
        locations = parsed.wallet_location
        for location in dict.fromkeys(locations if isinstance(locations, list) else [locations]):
            wallet = Path(location or "") / _WALLET
            if location is None:
                continue
            try:
                if not wallet.exists():
                    continue
                content = wallet.read_text(encoding="utf-8", errors="replace")
                if "PRIVATE KEY" in content:
                    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(wallet, password=self.wallet_password)
            except ssl.SSLError:
                raise self._unusable(wallet, is_protected="ENCRYPTED" in content) from None
            except OSError as error:
                raise ConfigurationError(
                    f"The wallet {wallet} cannot be read ({error.strerror}).",
                    "Make it a file, in a folder, that the user who runs hat-etl may read.",
                    self.tenant,
                ) from None

    def _unusable(self, wallet: Path, *, is_protected: bool) -> ConfigurationError:
        if not is_protected:
            cause, step = (
                "whose private key cannot be used",
                "Have the wallet exported anew, key and certificate in it.",
            )
        elif self.wallet_password:
            cause, step = "whose password is another one", "Correct the secret behind wallet_password in [erp]."
        else:
            cause, step = "that is protected by a password", "Name the secret that holds it: wallet_password in [erp]."
        return ConfigurationError(f"The address of the ERP names a wallet, {wallet}, {cause}.", step, self.tenant)

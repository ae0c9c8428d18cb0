"""The login: a challenge by which client and server prove to each other that they know the password (12c verifier)."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hat_etl.sandbox.oracle.errors import OracleError

_VERIFIER_12C = 0x4815
_PASSWORD_ROUNDS, _SESSION_ROUNDS = 4096, 3
_BLOCK = 16


@dataclass(frozen=True)
class Account:
    """A user of the server, and what it may do beside reading the views."""

    password: str = field(repr=False)
    locked: bool = False
    expired: bool = False
    flashback: bool = True
    """May read the views as of an earlier moment."""
    flashback_package: bool = True
    """May execute DBMS_FLASHBACK."""
    dynamic_views: bool = True
    """May read V$DATABASE and GV$TRANSACTION."""
    proxies: tuple[str, ...] = ()
    """Users, in capitals, who may log in with their own password and act for this one."""


class Challenge:
    """One login under way. A user who does not exist is challenged like any other."""

    def __init__(self, account: Account | None) -> None:
        self._account = account
        self._password = (account.password if account else secrets.token_hex(16)).encode()
        self._salt, self._session_salt = os.urandom(16), os.urandom(16)
        self._half = os.urandom(32)
        stretched = _stretch(self._password, self._salt + b"AUTH_PBKDF2_SPEEDY_KEY", 64, _PASSWORD_ROUNDS)
        self._hash = hashlib.sha512(stretched + self._salt).digest()[:32]

    def questions(self) -> dict[str, tuple[str, int]]:
        """What the client needs to answer: its name to value and flags."""
        return {
            "AUTH_SESSKEY": (_hexadecimal(_encrypted(self._hash, self._half)), 1),
            "AUTH_VFR_DATA": (_hexadecimal(self._salt), _VERIFIER_12C),
            "AUTH_PBKDF2_CSK_SALT": (_hexadecimal(self._session_salt), 0),
            "AUTH_PBKDF2_VGEN_COUNT": (str(_PASSWORD_ROUNDS), 0),
            "AUTH_PBKDF2_SDER_COUNT": (str(_SESSION_ROUNDS), 0),
        }

    def judge(self, answers: dict[str, str]) -> str:
        """The server's own proof for a client that knows the password.

        Raises OracleError: 1017 for a wrong password, then 28000 and 28001 for an account that may not be used.
        """
        theirs = _decrypted(self._hash, bytes.fromhex(answers["AUTH_SESSKEY"]))[:32]
        both = _hexadecimal(theirs + self._half).encode()
        key = _stretch(both, self._session_salt, 32, _SESSION_ROUNDS)
        given = _unpadded(_decrypted(key, bytes.fromhex(answers["AUTH_PASSWORD"]))[_BLOCK:])
        if self._account is None or not secrets.compare_digest(given, self._password):
            raise OracleError(1017)
        if self._account.locked:
            raise OracleError(28000)
        if self._account.expired:
            raise OracleError(28001)
        return _hexadecimal(_encrypted(key, _padded(os.urandom(_BLOCK) + b"SERVER_TO_CLIENT")))


def _stretch(password: bytes, salt: bytes, length: int, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password, salt, rounds, length)


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key), modes.CBC(bytes(_BLOCK)))


def _encrypted(key: bytes, data: bytes) -> bytes:
    encryptor = _cipher(key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _decrypted(key: bytes, data: bytes) -> bytes:
    decryptor = _cipher(key).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _padded(data: bytes) -> bytes:
    missing = _BLOCK - len(data) % _BLOCK
    return data + bytes((missing,)) * missing


def _unpadded(data: bytes) -> bytes:
    return data[: -data[-1]] if data and 0 < data[-1] <= _BLOCK else data


def _hexadecimal(data: bytes) -> str:
    return data.hex().upper()

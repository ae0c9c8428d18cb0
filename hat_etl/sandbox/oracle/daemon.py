"""The sandbox's Oracle server as a process of its own, which outlives the command that starts it.

It holds a lock on a file for as long as it runs: whoever finds the lock free knows that it is gone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import PLS, READER, Sandbox


def start(sandbox: Sandbox) -> str:
    """Start the server of a sandbox, or join it if it runs; gives its address with user and password."""
    secret = sandbox.folder / "oracle.secret"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(12), encoding="ascii")
    if not _is_running(sandbox.folder):
        _launch(sandbox.folder)
    _, place = _state(sandbox.folder).read_text(encoding="ascii").split()
    return f"oracle://{READER}:{secret.read_text(encoding='ascii')}@{place}"


def stop(folder: Path) -> None:
    """End the server of the sandbox in ``folder``, if it runs, and wait until it has."""
    if not _is_running(folder):
        return
    number, _ = _state(folder).read_text(encoding="ascii").split()
    os.kill(int(number), signal.SIGTERM)
    with _lock(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def _launch(folder: Path) -> None:
    with (folder / "oracle.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hat_etl.sandbox.oracle.daemon", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as told:
        if told.readline().strip() != "ready":
            raise ConfigurationError(
                "The sandbox's Oracle server did not start.", f"Its own words are in {folder / 'oracle.log'}."
            )


def serve(folder: Path) -> None:
    """Be the server until told to end; says ``ready`` once it listens."""
    sandbox = Sandbox.up(folder)
    with _lock(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        password = (folder / "oracle.secret").read_text(encoding="ascii")
        server = OracleServer(sandbox.url(PLS, READER), sandbox.url(PLS, "postgres"), {READER: Account(password)})
        _state(folder).write_text(f"{os.getpid()} {server.address}", encoding="ascii")
        print("ready", flush=True)
        ended.wait()
        server.close()


def _is_running(folder: Path) -> bool:
    with _lock(folder).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _lock(folder: Path) -> Path:
    return folder / "oracle.lock"


def _state(folder: Path) -> Path:
    return folder / "oracle.state"


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

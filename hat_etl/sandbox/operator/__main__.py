"""``python -m hat_etl.sandbox.operator``: the operator as a process of its own, until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from hat_etl.sandbox.operator.behaviour import Odds
from hat_etl.sandbox.operator.server import OperatorServer


def main() -> None:
    """Serve, and print the address once it listens."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--registry", default="412345", help="registration with ANS")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--file", type=Path, help="SQLite file that keeps the lots; in memory without it")
    parser.add_argument("--seed", type=int, default=1, help="of the mishaps")
    for name in Odds.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0)
    asked = parser.parse_args()
    odds = Odds(**{name: getattr(asked, name) for name in Odds.__dataclass_fields__})
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with OperatorServer(asked.registry, file=asked.file, port=asked.port, odds=odds, seed=asked.seed) as server:
        print(server.url, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()

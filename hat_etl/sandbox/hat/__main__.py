"""``python -m hat_etl.sandbox.hat``: HAT as a process of its own, until it is told to stop."""

from __future__ import annotations

import argparse
from pathlib import Path

from hat_etl.sandbox.hat.app import HatServer
from hat_etl.sandbox.hat.state import State
from hat_etl.sandbox.web import Faults, address_of, listen, server_of


def main() -> None:
    """Serve, and print the address once it listens."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--registry", default="412345", help="registration of the operator with ANS")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--file", type=Path, help="SQLite file that keeps what it knows; in memory without it")
    parser.add_argument("--token-file", type=Path, required=True, help="text file with the Mastertoken it accepts")
    parser.add_argument("--tenant-name", default="demo")
    parser.add_argument("--tenant-id", default="1")
    parser.add_argument("--faults", default="{}", help='as JSON, such as {"fail": 0.05, "lose": 0.05}')
    asked = parser.parse_args()
    server = HatServer(
        State(asked.file),
        {asked.token_file.read_text(encoding="utf-8").strip()},
        asked.tenant_name,
        asked.tenant_id,
        asked.registry,
    )
    listener = listen(asked.port)
    print(address_of(listener), flush=True)
    server_of(server.app(Faults.model_validate_json(asked.faults))).run(sockets=[listener])


if __name__ == "__main__":
    main()

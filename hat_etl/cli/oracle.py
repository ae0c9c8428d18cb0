"""``hat-etl oracle``: captures of real Oracle servers."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hat_etl.cli.main import echo, print_json, telling
from hat_etl.errors import ConfigurationError, DataError, OutputError
from hat_etl.tenants import oracle_address, store
from hat_etl.tenants.secrets import SecretRef

if TYPE_CHECKING:
    from hat_etl.capture.file import Capture

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def oracle() -> None:
    """Captures of real Oracle servers: what one answered to hat_etl, to be replayed where there is no Oracle."""


@oracle.command()
@click.argument("tenant")
@click.option("--login", help="Reference to the throw-away user's address.  [default: env:<NAME>_CAPTURE_URL]")
@click.option("--output", default="capture.jsonl.gz", show_default=True, type=_FILE, help="The file to write.")
@click.option(
    "--settle",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    help="Seconds for which the tables rest before they are read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def record(tenant: str, login: str | None, output: Path, settle: float, as_json: bool) -> None:
    """Record a capture of TENANT's Oracle: made-up tables, read as hat_etl reads.

    A throw-away user makes two tables and drops them again. Nothing of the operator's is read, and the file holds
    neither login nor address. See docs/oracle.md for what the DBA does before and after.
    """
    from hat_etl.capture import making

    loaded = store.load(tenant)
    if loaded.erp.dialect != "oracle":
        raise ConfigurationError("The ERP of this tenant is no Oracle.", "Name another tenant.", tenant=tenant)
    if output.exists() or not output.absolute().parent.is_dir():
        what = "is there already" if output.exists() else "is in a folder that is not there"
        raise ConfigurationError(f"{output} {what}.", "Name another file with --output.", tenant=tenant)
    try:
        reference = SecretRef.parse(login or f"env:{store.environment_prefix(tenant)}_CAPTURE_URL", tenant=tenant)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--login") from None
    capture = making.record(loaded, oracle_address.address(tenant, "--login", reference), settle)
    try:
        capture.write(output)
    except OSError as error:
        with suppress(OSError):  # what there is of it is no capture, and would refuse the next one
            output.unlink()
        raise OutputError(
            f"{output} could not be written ({error.strerror}).",
            "Free space there, or name another file with --output; then record again: the tables are dropped.",
            tenant=tenant,
        ) from None
    again = shlex.join(["hat-etl", "oracle", "replay", str(output)])
    with telling(tenant, f"{output} is written.", again):
        if as_json:
            print_json({"file": output, "server": capture.server, "steps": list(map(asdict, capture.outcomes))})
        else:
            _print(capture, f"{output}: Oracle {capture.server}", again)


def _print(capture: Capture, what: str, again: str) -> None:
    for outcome in capture.outcomes:
        came = outcome.error or f"{outcome.rows:,} rows"
        echo(f"{outcome.step}: {came}{', NOT what was put in' if outcome.surprises else ''}")
    surprises = sum(bool(outcome.surprises) for outcome in capture.outcomes)
    echo(
        f"{what}, {len(capture.outcomes)} steps, {surprises} with surprises. It has been replayed once. Again: {again}"
    )


@oracle.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def replay(file: Path, as_json: bool) -> None:
    """Replay the capture FILE to the driver that is installed here, and see whether it understands the same."""
    from hat_etl.capture import making, scenario
    from hat_etl.capture.file import read

    capture = read(file, scenario.VERSION)
    differing = making.differences(capture)
    if differing:
        raise DataError(
            f"{len(differing)} steps come otherwise than when the capture was made: {', '.join(differing)}.",
            "See what has changed since: python-oracledb, or the way in which hat_etl asks.",
        )
    if as_json:
        print_json({"file": file, "server": capture.server, "made_on": capture.made_on, "same": len(capture.outcomes)})
    else:
        made = f"Oracle {capture.server}, recorded {capture.made_on}"
        echo(f"{made}: all {len(capture.outcomes)} steps come the same.")

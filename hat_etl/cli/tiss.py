"""``hat-etl tiss``: check TISS files, and add schemas of ANS."""

from __future__ import annotations

import re
from pathlib import Path

import click

from hat_etl.cli.main import echo, print_json, say
from hat_etl.errors import DataError

_schemas = click.option(
    "--schemas",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the schemas that were added.  [default: HAT_ETL_TISS_SCHEMAS, else ~/.local/share/hat_etl/tiss]",
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def tiss() -> None:
    """TISS files: check them before they go to an operator."""


def _registry(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch("[0-9]{6}", value):
        raise click.BadParameter("must be the 6 digits of the registration at ANS.")
    return value


@tiss.command()
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "--registry",
    metavar="ANS",
    callback=_registry,
    help="The operator's registration with ANS that the messages must be for.",
)
@_schemas
@_json
@click.pass_context
def check(
    context: click.Context, files: tuple[Path, ...], registry: str | None, schemas: Path | None, as_json: bool
) -> None:
    """Check TISS messages: schema of their version, hash, sums, and what belongs together.

    Ends with code 6 when a file is not accepted.
    """
    from hat_etl.tiss.check import check as check_message
    from hat_etl.tiss.schemas import Schemas

    installed = Schemas(schemas)
    reports = [(file, check_message(_content(file), schemas=installed, registry=registry)) for file in files]
    if as_json:
        print_json([{"file": str(file), **report.as_dict()} for file, report in reports])
    else:
        for file, report in reports:
            verdict = "accepted" if report.accepted else "NOT accepted"
            echo(f"{file}: {verdict} (version {report.version or 'unknown'}, hash {report.hash})")
            for finding in report.findings:
                echo(f"  {finding.severity} {finding.code} {finding.where}: {finding.message}")
    if not all(report.accepted for _, report in reports):
        context.exit(DataError.exit_code)


def _content(file: Path) -> bytes:
    """The bytes of a file; of one that is too large, enough to see that it is."""
    from hat_etl.tiss.document import MAX_BYTES

    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


@tiss.command()
@click.argument("package", type=_FILE, metavar="ZIP")
@_schemas
@_json
def add(package: Path, schemas: Path | None, as_json: bool) -> None:
    """Add the schemas of a version from a ZIP of ANS (Componente de Comunicação)."""
    from hat_etl.tiss.package import add as add_package
    from hat_etl.tiss.schemas import Schemas

    done = add_package(package, Schemas(schemas))
    if as_json:
        print_json([{"version": one.version, "new": one.new, "folder": str(one.folder)} for one in done])
        return
    for one in done:
        say(f"Version {one.version} {'was added to' if one.new else 'was already in'} {one.folder}.")


@tiss.command()
@_schemas
@_json
def versions(schemas: Path | None, as_json: bool) -> None:
    """List the versions whose schemas are installed."""
    from hat_etl.tiss.schemas import Schemas

    installed = Schemas(schemas).installed()
    if as_json:
        print_json(installed)
    else:
        echo("\n".join(installed))

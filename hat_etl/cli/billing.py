"""``hat-etl billing``: lots from HAT to the operator, status and denials back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hat_etl.cli.main import echo, error_document, print_error, print_json, put_off, say, telling
from hat_etl.cli.tables import print_table
from hat_etl.errors import HatEtlError
from hat_etl.tenants import store

if TYPE_CHECKING:
    from hat_etl.billing.store import Lot
    from hat_etl.billing.work import StageReport

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_PROVIDER = click.option("--provider", help="The provider of the lot, where several have one with this number.")


@click.group()
def billing() -> None:
    """The billing loop: each lot of TISS guides reaches the operator once, and HAT shows its true status."""


@billing.command()
@click.argument("tenant")
@_JSON
def pull(tenant: str, as_json: bool) -> None:
    """Take the lots that wait in HAT, and check them."""
    from hat_etl.billing.pull import pull as stage

    _print([stage(store.load(tenant))], as_json=as_json)


@billing.command()
@click.argument("tenant")
@_JSON
def send(tenant: str, as_json: bool) -> None:
    """Deliver to the operator what waits, and ask about what is in doubt."""
    from hat_etl.billing.deliver import send as stage

    _print([stage(store.load(tenant))], as_json=as_json)


@billing.command()
@click.argument("tenant")
@click.option("--all", "everything", is_flag=True, help="Ask about every lot that the operator has, due or not.")
@_JSON
def poll(tenant: str, everything: bool, as_json: bool) -> None:
    """Ask the operator for status and denials of the lots that are due."""
    from hat_etl.billing.poll import poll as stage

    _print([stage(store.load(tenant), everything=everything)], as_json=as_json)


@billing.command()
@click.argument("tenant")
@_JSON
def push(tenant: str, as_json: bool) -> None:
    """Tell HAT every status, protocol and cause that has changed."""
    from hat_etl.billing.push import push as stage

    _print([stage(store.load(tenant))], as_json=as_json)


@billing.command()
@click.argument("tenant")
@_JSON
def authorizations(tenant: str, as_json: bool) -> None:
    """Take the authorizations that wait in HAT into the tenant's inbox, and mark them there as imported."""
    from hat_etl.billing.authorizations import take

    _print([take(store.load(tenant))], as_json=as_json)


@billing.command()
@click.argument("tenant", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every tenant that delivers lots or takes authorizations.")
@_JSON
def run(tenant: str | None, everyone: bool, as_json: bool) -> None:
    """Pull, send, poll, push and take authorizations once: of TENANT, or of all side by side."""
    from hat_etl.billing.loop import run as run_one
    from hat_etl.billing.loop import run_all

    if (tenant is None) is not everyone:
        raise click.UsageError("Name a tenant, or say --all.")
    if tenant is not None:
        _print(run_one(store.load(tenant)), as_json=as_json)
        return
    tenants, broken = [], []
    for name in store.all_names():
        try:
            tenants.append(store.load(name))
        except HatEtlError as error:
            error.tenant = error.tenant or name
            broken.append(error)
    asked = [one for one in tenants if one.billing.deliver is not None or one.billing.authorizations]
    _print(run_all(asked), as_json=as_json, more=broken)


@billing.command()
@click.argument("tenant")
@click.argument("lot", required=False)
@_PROVIDER
@_JSON
def show(tenant: str, lot: str | None, provider: str | None, as_json: bool) -> None:
    """Show where the lots of TENANT stand, or the whole story of LOT (its number in HAT)."""
    from hat_etl.billing import story

    if lot is None:
        found = story.overview(store.load(tenant))
        (print_json if as_json else _print_overview)(found)
    else:
        found = story.story(store.load(tenant), lot, provider)
        (print_json if as_json else _print_story)(found)


@billing.command()
@click.argument("tenant")
@click.argument("lot")
@_PROVIDER
@_JSON
def retry(tenant: str, lot: str, provider: str | None, as_json: bool) -> None:
    """Try LOT again: a refused one, one in doubt that has not arrived, one that waits for its next attempt."""
    from hat_etl.billing import decisions

    _print_lot(tenant, decisions.retry(store.load(tenant), lot, provider=provider), as_json=as_json)


@billing.command()
@click.argument("tenant")
@click.argument("lot")
@click.option("--accept", is_flag=True, help="Take the new file; send the reused number; confirm the deletion in HAT.")
@click.option("--keep", is_flag=True, help="Keep the old file; refuse the reused number; keep the lot in HAT.")
@click.option(
    "--protocol",
    help="A lot in doubt, one that a restored database has forgotten, or one that was refused as a double, has arrived,"
    " under this protocol; or it is the right one.",
)
@_PROVIDER
@_JSON
def release(
    tenant: str, lot: str, accept: bool, keep: bool, protocol: str | None, provider: str | None, as_json: bool
) -> None:
    """Decide about LOT, which waits for a person. `show` says what it waits for."""
    from hat_etl.billing import decisions

    if [accept, keep, protocol is not None].count(True) != 1:
        raise click.UsageError("Say one of --accept, --keep and --protocol.")
    loaded = store.load(tenant)
    if protocol is not None:
        found = decisions.arrived(loaded, lot, protocol, provider=provider)
    else:
        found = decisions.release(loaded, lot, accept=accept, provider=provider)
    _print_lot(tenant, found, as_json=as_json)


def _print(reports: Sequence[StageReport], *, as_json: bool, more: Sequence[HatEtlError] = ()) -> None:
    """Print what stages did, and exit with the code of the first problem."""
    problems = [*more, *(problem for report in reports for problem in report.problems)]
    tenants = sorted({report.tenant for report in reports})
    see = f"hat-etl billing show {tenants[0] if len(tenants) == 1 else 'TENANT'}"
    unwritten: list[HatEtlError] = []
    with put_off(unwritten), telling(", ".join(tenants), "What could be done is done.", see):
        if as_json:
            print_json([*(report.as_dict() for report in reports), *map(error_document, more)])
        else:
            _print_stages(reports)
    for problem in problems[:_TOLD]:
        print_error(problem)
    if len(problems) > _TOLD:
        say(f"And {len(problems) - _TOLD:,} more.")
    for error in unwritten:
        print_error(error)
    if problems or unwritten:
        sys.exit((problems + unwritten)[0].exit_code)


def _print_stages(reports: Sequence[StageReport]) -> None:
    print_table(
        "Billing",
        ("tenant", "stage", "done", "seconds"),
        [
            (r.tenant, r.stage, ", ".join(f"{n:,} {what}" for what, n in sorted(r.counts.items())) or "-", r.seconds)
            for r in reports
        ],
    )


_TOLD = 20
"""Problems that are printed; --json gives all."""


def _print_lot(tenant: str, lot: Lot, *, as_json: bool) -> None:
    from hat_etl.billing.commands import about

    held = f", waits for a person ({lot.hold})" if lot.hold else ""
    told = f"Lot {lot.batch_number} of provider {lot.provider}: {lot.state}{held}."
    with telling(tenant, told, about(tenant, lot, "show")):
        if as_json:
            print_json({"lot": lot.batch_number, "provider": lot.provider, "state": str(lot.state), "hold": lot.hold})
        else:
            echo(told)


def _print_overview(found: dict[str, Any]) -> None:
    waiting = ", ".join(f"{number:,} {kind}" for kind, number in found["waiting"].items()) or "nothing"
    print_table(
        f"Lots of {found['tenant']}", ("state", "lots"), found["states"].items(), f"Waiting to leave: {waiting}."
    )
    for name, title in (
        ("held", "For a person to decide"),
        ("stuck", "Too long in one state"),
        ("missing", "Files that could not be had"),
    ):
        rows = found[name]
        if rows:
            print_table(title, tuple(rows[0]), [tuple(map(_plain, row.values())) for row in rows])


def _print_story(found: dict[str, Any]) -> None:
    lot = found["lot"]
    shown = (
        "provider", "state", "state_since", "hold", "lot_number", "version", "hash", "guide_type", "guides", "protocol",
        "first_protocol", "tiss_status", "status_meaning", "processed", "denied", "released", "pulled_at", "next_poll",
    )  # fmt: skip
    print_table(
        f"Lot {lot['batch_number']}",
        ("what", "value"),
        [(name.replace("_", " "), _plain(lot[name])) for name in shown if lot[name] is not None],
    )
    for cause in lot["causes"]:
        echo(f"  {cause['code']} {cause['description']} {cause.get('detailedDescription', '')}")
    places = [file.pop("place") for file in found["contents"]]
    for title, name in (("Files", "contents"), ("Messages", "messages"), ("History", "history")):
        rows = found[name]
        if rows:
            print_table(title, tuple(rows[0]), [tuple(map(_plain, row.values())) for row in rows])
    for file, place in zip(found["contents"], places, strict=True):
        if place is not None:
            echo(f"The bytes of {file['sha256'][:12]} lie at {place}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={value[name]}" for name in value if value[name] not in (None, []))
    if hasattr(value, "astimezone"):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)

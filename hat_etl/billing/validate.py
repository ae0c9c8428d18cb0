"""Pulled lots are checked; one that is refused is told to HAT with its causes."""

from __future__ import annotations

from hat_etl.billing import store as rows
from hat_etl.billing.commands import about
from hat_etl.billing.contents import OutOfReach
from hat_etl.billing.operators.base import cause
from hat_etl.billing.push import enqueue_status
from hat_etl.billing.states import State
from hat_etl.billing.store import Lot, Store
from hat_etl.billing.work import StageReport, each
from hat_etl.errors import DataError, DecisionNeeded
from hat_etl.hat_api.bodies import RejectionCause
from hat_etl.target.database import Connection
from hat_etl.tiss.check import check
from hat_etl.tiss.findings import RULES, Finding, Report
from hat_etl.tiss.schemas import Schemas

NUMBER_REUSED = "number_reused"
"""Why a lot waits for a person: the provider has used its number for another lot."""

_OUT_OF_STANDARD = "5001"
_MOST_CAUSES = 50


def validate_pulled(store: Store, report: StageReport) -> None:
    """Check every lot that was pulled and waits for nobody."""
    schemas, registry = Schemas(), store.tenant.ans_registry

    def work(lot: Lot) -> None:
        try:
            with store.connection() as connection:
                content = store.content(connection, lot)
        except (DataError, OutOfReach) as error:
            report.problem(error)
            return
        # How large a lot may be was for max_lot_mib to say, when it was downloaded.
        found = check(content, schemas=schemas, registry=registry, lot_only=True, max_bytes=len(content))
        _settle(store, lot, found, report)

    each(store.lots("state = 'pulled' AND hold IS NULL"), work, store.tenant.billing.workers)


def _settle(store: Store, lot: Lot, found: Report, report: StageReport) -> None:
    facts = found.lot
    number = facts.number if facts is not None else None
    columns = {
        "lot_number": number,
        "origin_kind": facts.provider_kind if facts else None,
        "origin_code": facts.provider if facts else None,
        "version": found.version,
        "hash": found.hash,
        "guide_type": facts.guide_type if facts else None,
        "guides": facts.guides if facts else None,
    }
    detail = {"findings": [[finding.code, finding.where] for finding in found.findings], "hash": found.hash}
    with store.transaction() as connection:
        if not found.accepted:
            causes = [item.document() for item in causes_of(found)]
            rows.move(connection, lot.lot, State.REFUSED, "refused by the checks", detail, causes=causes, **columns)
            enqueue_status(store, connection, lot.lot)
            report.count("refused")
            return
        other = _other_lot(connection, lot, number)
        if other is not None:
            rows.change(connection, lot.lot, "lot number used before", {"by": other}, hold=NUMBER_REUSED, **columns)
            report.count("stopped")
            report.problem(_reused(store.tenant.name, lot, other))
            return
        rows.move(connection, lot.lot, State.VALIDATED, "validated", detail, causes=[], **columns)
        report.count("validated")


def _other_lot(connection: Connection, lot: Lot, number: str | None) -> str | None:
    """HAT's number of another lot of the provider that has the same numeroLote and was not given up."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (f"{lot.provider}/{number}",))
    row = connection.execute(
        "SELECT batch_number FROM hat_etl.billing_lots WHERE provider = %s AND lot_number = %s AND lot <> %s"
        " AND state NOT IN ('refused', 'withdrawn') AND hold IS DISTINCT FROM %s AND NOT EXISTS (SELECT FROM"
        " hat_etl.billing_history h WHERE h.lot = %s AND event = 'released' AND detail ->> 'hold' = %s"
        # Earlier versions did not note which number was decided about.
        " AND detail ->> 'accept' = 'true' AND coalesce(detail ->> 'number', %s) = %s) LIMIT 1",
        (lot.provider, number, lot.lot, NUMBER_REUSED, lot.lot, NUMBER_REUSED, number, number),
    ).fetchone()
    return None if row is None else str(row[0])


def _reused(tenant: str, lot: Lot, other: str) -> DecisionNeeded:
    return DecisionNeeded(
        f"Lots {other} and {lot.batch_number} of provider {lot.provider} have the same numeroLote.",
        f"Ask the provider. Then: {about(tenant, lot, 'release', '--accept')} (send it all the same), or with --keep"
        " (refuse it).",
        tenant,
    )


def causes_of(found: Report) -> list[RejectionCause]:
    """Why the lot is refused, for the provider: the code of Tabela 38, and the finding with its place."""
    errors = [finding for finding in found.findings if finding.severity == "error"]
    causes = [_cause(finding) for finding in errors[:_MOST_CAUSES]]
    if len(errors) > _MOST_CAUSES:
        left = len(errors) - _MOST_CAUSES
        causes.append(cause(_OUT_OF_STANDARD, "Mais críticas", f"Há mais {left} críticas neste lote."))
    if not causes:
        # No schema of this version is installed: nobody can say that the lot is right.
        causes.append(cause("5028", "Versão do padrão não suportada", f"Versão {found.version or 'não informada'}."))
    return causes


def _cause(finding: Finding) -> RejectionCause:
    code = finding.ans or _OUT_OF_STANDARD
    return cause(code, RULES[finding.code].title, f"{finding.code}: {finding.message} ({finding.where})")

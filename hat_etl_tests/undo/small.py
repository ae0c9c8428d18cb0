"""A small tenant whose ERP changes row by row: insurers, their companies and products, and persons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP, Pls, PlsRow
from hat_etl_tests.conformance.site import TENANT, Answer, Site, only
from hat_etl_tests.conformance.world import widths

TABLES = ("health_insurers", "companies", "products", "persons")
LONG_AGO = datetime(2024, 1, 1)


class Small:
    """Two insurers (0001, 0002) with a company and a product each, and four persons; loaded."""

    tables = TABLES

    def __init__(self, site: Site) -> None:
        self.site, self.pls = site, Pls(widths())
        site.renew_hat()
        self.populate()
        for rows in self.pls.tables.values():
            for row in rows:
                row[STAMP] = LONG_AGO
        site.fill_tables(self.pls)
        site.load(*only(self.tables))

    # -- the ERP -----------------------------------------------------------------------------------------------------

    def populate(self) -> None:
        for number in (1, 2):
            self.insurer(number)
            self.company(10 + number, f"000{number}")
            self.product(20 + number, f"000{number}", "A001")
        for number in range(1, 5):
            self.person(number)

    def insurer(self, recno: int) -> PlsRow:
        return self.add("BA0", recno, BA0_CODIDE="0", BA0_CODINT=f"{recno:03}", BA0_NOMINT=f"OPERADORA {recno}")

    def company(self, recno: int, insurer: str) -> PlsRow:
        return self.add("BG9", recno, BG9_CODINT=insurer, BG9_CODIGO=f"{recno:04}", BG9_DESCRI="EMPRESA")

    def product(self, recno: int, insurer: str, code: str) -> PlsRow:
        return self.add("BI3", recno, BI3_CODINT=insurer, BI3_CODIGO=code, BI3_VERSAO="001", BI3_DESCRI="PLANO")

    def person(self, recno: int, **fields: str) -> PlsRow:
        return self.add("BTS", recno, **{"BTS_MATVID": f"{recno:08}", "BTS_NOMUSR": f"PESSOA {recno}", **fields})

    def add(self, alias: str, recno: int, **fields: str) -> PlsRow:
        row: PlsRow = {RECNO: recno, DELETED: " ", STAMP: datetime.now(UTC).replace(tzinfo=None), **fields}
        self.pls.rows(alias).append(row)
        return row

    def change(self, alias: str, recno: int, **fields: str) -> None:
        row = next(row for row in self.pls.rows(alias) if row[RECNO] == recno)
        row.update(fields, **{STAMP: datetime.now(UTC).replace(tzinfo=None)})

    def delete(self, alias: str, recno: int) -> None:
        self.change(alias, recno, **{DELETED: "*"})

    # -- commands ----------------------------------------------------------------------------------------------------

    def sync(self, *options: str) -> int:
        """Bring HAT to the state of the ERP; gives the number of the run."""
        self.site.fill_tables(self.pls)
        return int(self.site.run("sync", TENANT, "--json", *options).json["run"])

    def undo(self, run: int) -> dict[str, Any]:
        report: dict[str, Any] = self.site.run("undo", TENANT, str(run), "--yes", "--json").json
        return report

    def refused(self, run: int, code: int = 7) -> str:
        """What is said of an undo that is refused, with and without ``--yes``; HAT stays as it is."""
        answers = [self.site.run("undo", TENANT, str(run), *yes) for yes in ((), ("--yes",))]
        assert [answer.code for answer in answers] == [code, code], answers
        assert answers[0].err == answers[1].err
        assert not answers[0].out
        return answers[0].err

    def explain(self, table: str, key: str) -> dict[str, Any]:
        told: dict[str, Any] = self.site.run("explain", TENANT, table, key, "--json").json
        return told

    def told(self, table: str, key: str) -> Answer:
        return self.site.run("explain", TENANT, table, key)

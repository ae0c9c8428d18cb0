"""What Oracle's data dictionary tells of the PLS tables and of the views over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hat_etl.protheus.dictionary import physical_name
from hat_etl.source.live_column import LiveColumn
from hat_etl.source.oracle_session import Binds, OracleSession
from hat_etl.source.reader import ALIASES, EVERY_ALIAS, EVERY_VIEW, Tables, UnindexedStamp, ViewShape
from hat_etl.tenants.config import Tenant


@dataclass(frozen=True)
class Catalogue:
    """Puts the questions in ``session``, for a tenant whose login is at home in the schema ``home``."""

    session: OracleSession
    tenant: Tenant
    home: str

    def rows(self, alias: str) -> int | None:
        """Rows of a PLS table by the server's statistics, None where it tells none."""
        found = self._of_tables("NUM_ROWS FROM ALL_TABLES WHERE", [alias])
        return None if not found or found[0][1] is None else int(found[0][1])

    def fields(self) -> Tables:
        by_name = {physical_name(alias, self.tenant.erp.company).upper(): alias for alias in EVERY_ALIAS}
        found: dict[str, dict[str, LiveColumn]] = {}
        for _, table, name, type_name, width in self._of_tables(
            "TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHAR_LENGTH FROM ALL_TAB_COLUMNS WHERE", EVERY_ALIAS
        ):
            found.setdefault(by_name[table], {})[name] = LiveColumn(name, type_name, int(width or 0) or None)
        return found

    def unindexed_stamps(self) -> list[UnindexedStamp] | None:
        seen = self._of_tables("TABLE_NAME, NUM_ROWS FROM ALL_TABLES WHERE", ALIASES)
        if not seen:
            return None
        stamped = self._of_tables("TABLE_NAME FROM ALL_TAB_COLUMNS WHERE COLUMN_NAME = 'S_T_A_M_P_' AND", ALIASES)
        # An index on the stamp alone has no entry for rows without one, which every sync asks for as well.
        indexed = self.session.rows(
            "SELECT i.TABLE_OWNER, i.TABLE_NAME FROM ALL_IND_COLUMNS i JOIN ALL_IND_COLUMNS s"
            " ON s.INDEX_OWNER = i.INDEX_OWNER AND s.INDEX_NAME = i.INDEX_NAME AND s.COLUMN_POSITION = 2"
            " WHERE i.COLUMN_NAME = 'S_T_A_M_P_' AND i.COLUMN_POSITION = 1"
        )
        bare = set(stamped) - set(indexed)
        return [
            UnindexedStamp(
                table,
                int(rows or 0),
                f"CREATE INDEX {owner}.{table}_STAMP ON {owner}.{table} (S_T_A_M_P_, 0);",
            )
            for owner, table, rows in sorted(seen, key=lambda row: (-(row[2] or 0), row[1]))
            if (owner, table) in bare
        ]

    def _of_tables(self, asked: str, aliases: Sequence[str]) -> list[tuple[Any, ...]]:
        """What is ``asked``, behind its owner, of these PLS tables.

        Where the tenant's file names no schema, they are those of the views' owner or of the login, or else, for these
        may know them by synonyms, of the only owner who has any: tables of a schema for tests bear the same names.
        """
        erp = self.tenant.erp
        binds: Binds = {f"t{place}": physical_name(alias, erp.company).upper() for place, alias in enumerate(aliases)}
        among = f"TABLE_NAME IN ({_listed(binds)})"
        if erp.schema_name:
            among, binds = f"{among} AND OWNER = :owner", {**binds, "owner": erp.schema_name.upper()}
        found = self.session.rows(f"SELECT OWNER, {asked} {among}", binds)
        owners = {row[0] for row in found}
        own = [home for home in ((erp.view_owner or self.home).upper(), self.home) if home in owners]
        owner = own[0] if own else owners.pop() if len(owners) == 1 else None
        return [row for row in found if row[0] == owner]

    def tables_read(self) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """Schema and name of the views of any tenant, and of the tables and views that each reads."""
        found: dict[tuple[str, str], set[tuple[str, str]]] = {}
        binds: Binds = {f"v{place}": entity.view.upper() for place, entity in enumerate(EVERY_VIEW)}
        for owner, view, schema, table in self.session.rows(
            "SELECT OWNER, NAME, REFERENCED_OWNER, REFERENCED_NAME FROM ALL_DEPENDENCIES WHERE TYPE = 'VIEW'"
            " AND REFERENCED_TYPE IN ('TABLE', 'VIEW') AND REFERENCED_LINK_NAME IS NULL"
            f" AND NAME IN ({_listed(binds)})",
            binds,
        ):
            found.setdefault((owner, view), set()).add((schema, table))
        return found

    def definitions(self, shapes: Sequence[ViewShape]) -> dict[str, str]:
        by_view = {shape.relation: shape.entity.table for shape in shapes}
        owners = {f"o{place}": owner for place, owner in enumerate(sorted({owner for owner, _ in by_view}))}
        views = {f"v{place}": view for place, (_, view) in enumerate(by_view)}
        found = self.session.rows(
            "SELECT OWNER, VIEW_NAME, TEXT FROM ALL_VIEWS"
            f" WHERE OWNER IN ({_listed(owners)}) AND VIEW_NAME IN ({_listed(views)})",
            {**owners, **views},
        )
        return {by_view[owner, view]: str(text) for owner, view, text in found if (owner, view) in by_view and text}


def _listed(binds: Binds) -> str:
    return ", ".join(f":{bind}" for bind in binds)

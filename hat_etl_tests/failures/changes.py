"""Changes of a PLS, as users of the ERP make them."""

from __future__ import annotations

import random

from hat_etl.protheus.dictionary import physical_name
from hat_etl.sandbox import physical

from .ground import Connection


def table(alias: str) -> str:
    return f"protheus.{physical_name(alias, '01')}"


def live(connection: Connection, rng: random.Random, alias: str, count: int, where: str = "true") -> list[int]:
    """Recnos of live rows, at random."""
    rows = connection.execute(
        f"SELECT r_e_c_n_o_ FROM {table(alias)} WHERE d_e_l_e_t_ = ' ' AND ({where}) ORDER BY 1"
    ).fetchall()
    return rng.sample([recno for (recno,) in rows], min(count, len(rows)))


def update(connection: Connection, alias: str, recnos: list[int], **values: str) -> None:
    assignments = ", ".join(f"{alias.lower()}_{name} = %s" for name in values)
    connection.execute(
        f"UPDATE {table(alias)} SET {assignments} WHERE r_e_c_n_o_ = ANY (%s)", (*values.values(), recnos)
    )


def insert(connection: Connection, alias: str, patterns: list[int], **values: str) -> list[int]:
    """Copies of rows with other values; gives their Recnos."""
    columns = [field.column for field in physical.fields(alias).values()]
    taken = [f"%({name.partition('_')[2]})s" if name.partition("_")[2] in values else name for name in columns]
    rows = connection.execute(
        f"INSERT INTO {table(alias)} ({', '.join(columns)}) SELECT {', '.join(taken)} FROM {table(alias)}"
        " WHERE r_e_c_n_o_ = ANY (%(patterns)s) RETURNING r_e_c_n_o_",
        {**values, "patterns": patterns},
    ).fetchall()
    return [recno for (recno,) in rows]


def delete(connection: Connection, alias: str, recnos: list[int]) -> None:
    """Delete as Protheus does: the row stays and is marked."""
    connection.execute(
        f"UPDATE {table(alias)} SET d_e_l_e_t_ = '*', r_e_c_d_e_l_ = r_e_c_n_o_ WHERE r_e_c_n_o_ = ANY (%s)", (recnos,)
    )


def purge(connection: Connection, alias: str, recnos: list[int]) -> None:
    connection.execute(f"DELETE FROM {table(alias)} WHERE r_e_c_n_o_ = ANY (%s)", (recnos,))


def everywhere(connection: Connection, seed: int) -> None:
    """Change every table: some rows are saved anew, one is deleted."""
    rng = random.Random(seed)
    for alias in physical.aliases():
        connection.execute(f"UPDATE {table(alias)} SET d_e_l_e_t_ = d_e_l_e_t_ WHERE r_e_c_n_o_ % 3 = 0")
        delete(connection, alias, live(connection, rng, alias, 1))


def some(connection: Connection, seed: int) -> None:
    """A little of everything: insert, update, delete, purge; of parents, children and joined rows."""
    rng = random.Random(seed)
    update(connection, "BTS", live(connection, rng, "BTS", 3), nomusr="NOME MUDADO")
    update(connection, "BA1", live(connection, rng, "BA1", 3), datnas="20010230")
    update(connection, "BA3", live(connection, rng, "BA3", 3), codpla="")
    delete(connection, "BFG", live(connection, rng, "BFG", 3))
    delete(connection, "BA3", live(connection, rng, "BA3", 2))
    purge(connection, "BFO", live(connection, rng, "BFO", 3))
    purge(connection, "BA1", live(connection, rng, "BA1", 2))
    insert(connection, "BR8", live(connection, rng, "BR8", 2), codpsa=f"9{rng.randrange(10**6):06d}")
    insert(connection, "BTS", live(connection, rng, "BTS", 1), matvid=f"8{rng.randrange(10**7):07d}")
    insert(connection, "BFE", live(connection, rng, "BFE", 1))

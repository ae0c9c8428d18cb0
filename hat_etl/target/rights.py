"""Owner and rights of a table that takes the place of another one, or that is the first of its name."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import errors as pg

from hat_etl.target.database import Connection


@dataclass(frozen=True)
class Rights:
    """Whose a table is (None: ours), and GRANT statements on ``%1$s`` for what others may do with it."""

    owner: str | None
    grants: tuple[str, ...]
    succeeds: bool
    """Whether they are those of a live table: then they are all there are."""


def rights_on(connection: Connection, schema: str, table: str | None) -> Rights:
    """The rights on a live table; without one, what the login's default privileges in the schema give."""
    if table is None:
        acl = "SELECT NULL::name, defaclacl, defaclrole FROM pg_default_acl WHERE defaclobjtype = 'r'"
        acl += " AND defaclrole = current_user::regrole AND defaclnamespace = %(schema)s::regnamespace"
        owner = None
    else:
        acl = "SELECT NULL::name, relacl, relowner FROM pg_class WHERE oid = %(t)s::regclass UNION ALL"
        acl += " SELECT a.attname, a.attacl, c.relowner FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        acl += " WHERE c.oid = %(t)s::regclass AND a.attacl IS NOT NULL"
        ((owner,),) = connection.execute(
            "SELECT CASE WHEN pg_get_userbyid(relowner) <> current_user THEN quote_ident(pg_get_userbyid(relowner)) END"
            " FROM pg_class WHERE oid = %s::regclass",
            (f"{schema}.{table}",),
        ).fetchall()
    rows = connection.execute(
        "SELECT 'GRANT ' || a.privilege_type || coalesce(' (' || quote_ident(x.attname) || ')', '') || ' ON %%1$s TO '"
        " || CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
        " || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
        f" FROM ({acl}) x (attname, acl, owner) CROSS JOIN LATERAL aclexplode(x.acl) a WHERE a.grantee <> x.owner",
        {"t": f"{schema}.{table}", "schema": schema},
    ).fetchall()
    return Rights(owner, tuple(str(grant) for (grant,) in rows), succeeds=table is not None)


def give(connection: Connection, table: str, rights: Rights) -> None:
    """Give a new table these rights, and none that the login's default privileges have given it beside an old one's."""
    others = connection.execute(
        "SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
        " FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a"
        " WHERE c.oid = %s::regclass AND a.grantee <> c.relowner",
        (table,),
    ).fetchall()
    if rights.succeeds:
        for (grantee,) in others:
            connection.execute(f"REVOKE ALL ON {table} FROM {grantee}")
    for grant in rights.grants:
        connection.execute(grant.replace("%1$s", table))
    if rights.owner is not None:
        try:
            with connection.transaction():
                connection.execute(f"ALTER TABLE {table} OWNER TO {rights.owner}")
        except pg.InsufficientPrivilege:  # it may not have tables in the schema any more
            connection.execute(f"GRANT ALL ON {table} TO {rights.owner}")

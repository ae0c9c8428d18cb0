"""Views in PostgreSQL that stand for those of Oracle's data dictionary which are asked for."""

from __future__ import annotations

import psycopg

from hat_etl.sandbox.oracle.translation import DICTIONARY

_VIEWS = {
    "dual": "SELECT 'X'::char(1) AS dummy",
    "nls_database_parameters": """
        SELECT 'NLS_CHARACTERSET'::text AS parameter,
               CASE getdatabaseencoding() WHEN 'UTF8' THEN 'AL32UTF8' ELSE 'WE8MSWIN1252' END AS value""",
    "all_tables": """
        SELECT upper(n.nspname) AS owner, upper(c.relname) AS table_name,
               CASE WHEN c.reltuples >= 0 THEN c.reltuples::numeric END AS num_rows
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')""",
    "all_tab_columns": """
        SELECT upper(n.nspname) AS owner, upper(c.relname) AS table_name, upper(a.attname) AS column_name,
               CASE t.typname WHEN 'bpchar' THEN 'CHAR' WHEN 'timestamp' THEN 'TIMESTAMP(6)' WHEN 'bytea' THEN 'BLOB'
                    WHEN 'text' THEN 'VARCHAR2' WHEN 'varchar' THEN 'VARCHAR2' ELSE 'NUMBER' END AS data_type,
               CASE WHEN t.typname IN ('bpchar', 'varchar') THEN a.atttypmod - 4 ELSE 0 END AS char_length
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT')""",
    "all_views": """
        SELECT upper(n.nspname) AS owner, upper(c.relname) AS view_name, pg_get_viewdef(c.oid) AS text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND has_table_privilege(c.oid, 'SELECT')""",
    "all_ind_columns": """
        SELECT upper(i.relname) AS index_name, upper(n.nspname) AS table_owner, upper(c.relname) AS table_name,
               coalesce(upper(a.attname), 'SYS_NC') AS column_name, k.place AS column_position,
               upper(n.nspname) AS index_owner
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_class c ON c.oid = x.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL unnest(x.indkey::int[]) WITH ORDINALITY AS k (number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE has_table_privilege(c.oid, 'SELECT')""",
    "all_dependencies": """
        SELECT DISTINCT upper(vn.nspname) AS owner, upper(v.relname) AS name, 'VIEW'::text AS type,
               upper(tn.nspname) AS referenced_owner, upper(t.relname) AS referenced_name,
               CASE t.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS referenced_type,
               NULL::text AS referenced_link_name
        FROM pg_rewrite r
        JOIN pg_class v ON v.oid = r.ev_class
        JOIN pg_namespace vn ON vn.oid = v.relnamespace
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
             AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid
        JOIN pg_namespace tn ON tn.oid = t.relnamespace
        WHERE has_table_privilege(v.oid, 'SELECT')""",
    "gv$transaction": """
        SELECT date_trunc('second', xact_start AT TIME ZONE 'UTC')::timestamp(0) AS start_date
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xid IS NOT NULL""",
}


def install(connection: psycopg.Connection, reader: str) -> None:
    """Make the views, or make them anew, for the role that reads them."""
    with connection.transaction():
        # One at a time: servers that start together would trip over each other.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (DICTIONARY,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DICTIONARY}")
        connection.execute(f'GRANT USAGE ON SCHEMA {DICTIONARY} TO "{reader}"')
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {DICTIONARY}.sys_context(text, text) RETURNS text LANGUAGE sql AS"
            " $$ SELECT CASE WHEN $2 <> 'DATABASE_ROLE' THEN upper(current_database())"
            " WHEN pg_is_in_recovery() THEN 'PHYSICAL STANDBY' ELSE 'PRIMARY' END $$"
        )
        for name, query in _VIEWS.items():
            connection.execute(
                f'CREATE OR REPLACE VIEW {DICTIONARY}."{name}" WITH (security_invoker) AS {query}'.encode()
            )
            connection.execute(f'GRANT SELECT ON {DICTIONARY}."{name}" TO "{reader}"'.encode())

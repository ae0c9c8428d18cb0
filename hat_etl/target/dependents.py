"""What the HAT application, or a DBA, has built on a HAT table or added to it: such a table is not dropped."""

from __future__ import annotations

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.target.database import Connection
from hat_etl.target.schema import names_of

_BUILT = """
SELECT 'view or rule ' || r.ev_class::regclass::text
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
WHERE d.refobjid = %(t)s::regclass AND (r.ev_class <> %(t)s::regclass OR r.rulename <> '_RETURN')
UNION
SELECT 'foreign key of ' || c.conrelid::regclass::text FROM pg_constraint c
JOIN pg_class k ON k.oid = c.conrelid JOIN pg_namespace n ON n.oid = k.relnamespace
WHERE c.contype = 'f' AND c.confrelid = %(t)s::regclass
  AND NOT (n.nspname = %(schema)s AND k.relname = ANY (%(ours)s))
UNION
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d, pg_class c
JOIN pg_type y ON y.oid = c.reltype
WHERE c.oid = %(t)s::regclass AND d.deptype = 'n'
  AND d.classid NOT IN ('pg_rewrite'::regclass, 'pg_constraint'::regclass)
  AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
       OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (y.oid, y.typarray))
UNION
SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = %(t)s::regclass AND NOT tgisinternal
UNION
SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = %(t)s::regclass
UNION
SELECT 'publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
WHERE r.prrelid = %(t)s::regclass
"""
"""What rests on a table, and would be in the way if it were dropped."""

_ADDED = """
SELECT 'column ' || attname FROM pg_attribute
WHERE attrelid = %(t)s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%(columns)s)
UNION
SELECT 'index ' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = %(t)s::regclass AND i.relname <> ALL (%(names)s)
UNION
SELECT 'constraint ' || conname FROM pg_constraint
WHERE conrelid = %(t)s::regclass AND contype IN ('c', 'f', 'u', 'p', 'x') AND conname <> ALL (%(names)s)
UNION
SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = %(t)s::regclass
UNION
SELECT x.what FROM pg_class c CROSS JOIN LATERAL (VALUES
    (c.relrowsecurity OR c.relforcerowsecurity, 'row level security'),
    (c.relreplident <> 'd', 'replica identity'),
    (c.reloptions IS NOT NULL, 'storage parameters'), (c.relkind = 'p' OR c.relispartition, 'partitions')
) x (there, what) WHERE c.oid = %(t)s::regclass AND x.there
"""
"""What a table has beside what a load gives it, and would go with it."""

_ITS_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = %(t)s::regclass AND attnum > 0 AND NOT attisdropped"


def dependents(connection: Connection, entity: Entity, schema: str) -> list[str]:
    """What others have built on a live table, or added to it.

    A table that lacks a column of ours is of an older hat_etl, which may have made what looks added: additions to such
    a one do not count.
    """
    about = {
        "t": f"{schema}.{entity.table}",
        "schema": schema,
        "ours": [other.table for other in ENTITIES],
        "columns": [field.name for field in entity.schema],
        "names": names_of(entity, schema),
    }
    found = connection.execute(_BUILT, about).fetchall()
    columns = {name for (name,) in connection.execute(_ITS_COLUMNS, about)}
    if columns.issuperset(about["columns"]):
        found += connection.execute(_ADDED, about).fetchall()
    return sorted({str(what) for (what,) in found})

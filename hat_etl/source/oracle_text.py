"""What Oracle would refuse of a view's text, or read in another way, though an SQL parser lets it pass."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

_KNOWN = (
    exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Table, exp.TableAlias, exp.Subquery, exp.Exists,
    exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Literal, exp.Null, exp.Case, exp.If, exp.And, exp.Or, exp.Not,
    exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.DPipe, exp.Cast,
    exp.DataType, exp.DataTypeParam, exp.Func,
)  # fmt: skip
"""Parts of a statement that Oracle 12.1 reads as PostgreSQL does. Functions are judged elsewhere."""

_CASTS = ("TIMESTAMP",)
_SPELLED = {
    r"::": "casts with ::, which only PostgreSQL reads",
    r"\b(?:FROM|JOIN)\s+[\w.{}]+\s+AS\b": "puts AS before the alias of a table",
    r"\)\s+AS\s+\w+\s+ON\b": "puts AS before the alias of a subquery",
    r"\bSUBSTRING\s*\(": "uses SUBSTRING, which Oracle calls SUBSTR",
    r",\s*(?:,|FROM\b)": "has a comma too many",
    r"\bE'": "has a text with escapes (E'...')",
}
"""How a text looks where the parser no longer tells it from what Oracle reads."""


def faults(sql: str, select: exp.Select) -> Iterator[str]:
    """What is amiss, each as the rest of a sentence about the view's text."""
    bare = re.sub(r"'[^']*'", "''", sql)
    for pattern, fault in _SPELLED.items():
        if re.search(pattern, sql if "'" in pattern else bare, re.IGNORECASE):
            yield fault
    for node in select.walk():
        if not isinstance(node, _KNOWN):
            yield f"uses {node.key.upper()}, which Oracle 12.1 does not have or reads otherwise"
    for cast in select.find_all(exp.Cast):
        if cast.to.sql("oracle") not in _CASTS:
            yield f"casts to {cast.to.sql('oracle')}"
    for literal in select.find_all(exp.Literal):
        if literal.is_string and not literal.name:
            yield "has an empty text, which is NULL on Oracle: compare with ' '"
    for column in select.find_all(exp.Column):
        if column.args.get("join_mark"):
            yield "joins with (+)"
    for join in select.find_all(exp.Join):
        if join.args.get("on") is None:
            yield "joins without ON"
    for query in select.find_all(exp.Select):
        yield from _grouping(query)


def _grouping(query: exp.Select) -> Iterator[str]:
    """Columns beside an aggregate must be grouped by."""
    aggregates = [node for node in query.find_all(exp.AggFunc) if node.parent_select is query]
    if not aggregates:
        return
    group = query.args.get("group")
    grouped = {expression.sql() for expression in group.expressions} if group else set()
    for projection in query.expressions:
        for column in projection.find_all(exp.Column):
            if column.find_ancestor(exp.AggFunc) is None and column.sql() not in grouped:
                yield f"shows {column.sql()} beside an aggregate and does not group by it"

"""Statements in Oracle's SQL to PostgreSQL's: those few forms that are known to mean the same, and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.messages import Bind

DICTIONARY = "oracle_dictionary"
USERENV = ("DATABASE_ROLE", "DB_NAME", "DB_UNIQUE_NAME")
"""Schema of the views that stand for Oracle's data dictionary."""

_SAME = (
    exp.Select, exp.From, exp.Table, exp.TableAlias, exp.Subquery, exp.Join, exp.Where, exp.Group, exp.Exists,
    exp.Fetch, exp.LimitOptions, exp.Column, exp.Identifier, exp.Star, exp.Alias, exp.Null, exp.Literal,
    exp.Placeholder, exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.Between, exp.In, exp.Is, exp.Case, exp.If, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.Coalesce, exp.Cast,
    exp.DataType, exp.DataTypeParam, exp.Count, exp.Sum, exp.Min, exp.Max, exp.Floor, exp.Upper, exp.Length,
    exp.Replace, exp.Substring, exp.Pad, exp.Trim, exp.DPipe, exp.CurrentTimestamp, exp.Systimestamp, exp.Anonymous,
    exp.Version, exp.Translate, exp.ToChar,
)  # fmt: skip
_BLANK_IS_NULL = (exp.Trim, exp.Replace, exp.Substring, exp.Translate, exp.Upper)
"""Functions whose empty result is NULL in Oracle."""
_MARK = re.compile("\0(\\w+)\0")
_UTC_CLOCK = "(clock_timestamp() AT TIME ZONE 'UTC')"


@dataclass(frozen=True)
class Query:
    """A query for PostgreSQL."""

    sql: str
    relations: tuple[tuple[str | None, str], ...]
    """Schema and name of what it reads, in small letters."""
    scn: int | None
    """The moment that it asks for."""

    @property
    def is_of_past(self) -> bool:
        return self.scn is not None


@dataclass(frozen=True)
class _Template:
    """A translated statement, in which marks stand for its binds."""

    sql: str
    names: tuple[str, ...]
    """Of the binds, as they come."""
    relations: tuple[tuple[str | None, str], ...]
    scn: str | None
    """A number, or the mark of one."""


def translate(sql: str, binds: Sequence[Bind]) -> Query:
    """The query that means the same to PostgreSQL. Raises OracleError: 900 for all that is not known to."""
    template = _template(sql)
    if len(template.names) != len(binds):
        raise OracleError(1008)
    values = {name: _literal(value) for name, value in zip(template.names, binds, strict=True)}

    def filled(text: str) -> str:
        return _MARK.sub(lambda mark: values[mark[1]], text)

    scn = None if template.scn is None else _whole(filled(template.scn))
    return Query(filled(template.sql), template.relations, scn)


@lru_cache(1_024)
def _template(sql: str) -> _Template:
    try:
        tokens = sqlglot.tokenize(sql, dialect="oracle")
        tree = sqlglot.parse_one(sql, dialect="oracle")
    except SqlglotError:
        raise OracleError(900) from None
    if not isinstance(tree, exp.Select) or any(not isinstance(node, _SAME) for node in tree.walk()):
        raise OracleError(900)
    if any(column.args.get("join_mark") for column in tree.find_all(exp.Column)):
        raise OracleError(900)
    names = tuple(
        name.text
        for colon, name in pairwise(tokens)
        if colon.token_type is TokenType.COLON and name.start == colon.end + 1
    )
    return _Translation().template(tree, names)


class _Translation:
    def __init__(self) -> None:
        self._relations: list[tuple[str | None, str]] = []
        self._scns: set[str] = set()

    def template(self, tree: exp.Select, names: tuple[str, ...]) -> _Template:
        _limit(tree)
        # From the leaves up, so that what stands for a node holds what stands for its parts. The root stays.
        for node in reversed(list(tree.walk())):
            translated = self._node(node)
            if translated is not node:
                node.replace(translated)
        if len(self._scns) > 1:
            raise OracleError(900)
        return _Template(tree.sql("postgres"), names, tuple(self._relations), next(iter(self._scns), None))

    def _node(self, node: exp.Expr) -> exp.Expr:
        match node:
            case exp.Identifier():
                return exp.to_identifier(_folded(node), quoted=True)
            case exp.Table():
                return self._table(node)
            case exp.Column() if node.name == "dbtimezone" and not node.table:
                return exp.Literal.string("+00:00")
            case exp.Placeholder():
                return exp.Var(this=f"\0{node.name}\0")
            case exp.Literal() if node.is_string and not node.this:
                return exp.null()
            case exp.CurrentTimestamp() if node.args.get("sysdate"):
                return _raw(f"date_trunc('second', {_UTC_CLOCK})::timestamp(0)")
            case exp.Systimestamp():
                return _raw("clock_timestamp()")
            case exp.CurrentTimestamp():
                raise OracleError(900)
            case exp.Anonymous():
                return self._function(node)
            case exp.ToChar():
                if node.text("format") != "TM9":
                    raise OracleError(900)
                return exp.cast(node.this, exp.DataType.Type.TEXT)
            case exp.DPipe():
                return _joined(node)
            case exp.Length():
                if not isinstance(node.this, exp.Nullif):
                    raise OracleError(900)  # the blanks that pad a CHAR count in Oracle and not in PostgreSQL
                return node
        if isinstance(node, _BLANK_IS_NULL):
            return exp.Nullif(this=node.copy(), expression=exp.Literal.string(""))
        return node

    def _table(self, node: exp.Table) -> exp.Table:
        self._relations.append((node.db or None, node.name))
        version = node.args.get("version")
        if version is not None:
            if version.name.upper() != "SCN" or version.args.get("kind") != "AS OF":
                raise OracleError(900)
            self._scns.add(version.expression.name)
            node.set("version", None)
        return node

    def _function(self, node: exp.Anonymous) -> exp.Expr:
        arguments = node.expressions
        match node.name.upper(), len(arguments):
            case "SYS_EXTRACT_UTC", 1:
                return _raw(f"({arguments[0].sql('postgres')} AT TIME ZONE 'UTC')")
            case "SYS_CONTEXT", 2 if arguments[0].name == "USERENV" and arguments[1].name in USERENV:
                return _raw(f"{DICTIONARY}.sys_context('USERENV', '{arguments[1].name}')")
            case "NLSSORT", 2 if arguments[1].name == "NLS_SORT=BINARY":
                return exp.Collate(this=arguments[0], expression=exp.to_identifier("C", quoted=True))
        raise OracleError(900)


def _limit(tree: exp.Select) -> None:
    """``WHERE ROWNUM <= n``, alone and in a plain query, asks for the first n rows. Any other ROWNUM is refused."""
    for where in list(tree.find_all(exp.Where)):
        query, test = where.parent, where.this
        if (
            isinstance(query, exp.Select)
            and not any(query.args.get(part) for part in ("group", "distinct", "order", "fetch", "limit"))
            and not any(chosen.find(exp.AggFunc) for chosen in query.expressions)
            and isinstance(test, exp.LTE)
            and _is_rownum(test.this)
            and isinstance(test.expression, exp.Literal)
        ):
            query.set("where", None)
            query.set("limit", exp.Limit(expression=test.expression))
    if any(map(_is_rownum, tree.find_all(exp.Column))):
        raise OracleError(900)


def _is_rownum(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and not node.table and node.name.upper() == "ROWNUM"


def _folded(identifier: exp.Identifier) -> str:
    """The name in PostgreSQL of what Oracle knows in capitals. Quoted small letters are another name, of nothing."""
    if identifier.args.get("quoted") and identifier.name != identifier.name.upper():
        raise OracleError(904, f'"{identifier.name}"')
    return str(identifier.name).lower()


def _literal(value: Bind) -> str:
    match value:
        case None | "":
            return "NULL"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case Decimal():
            return f"({value:f})"
        case datetime():
            return f"timestamp '{value.isoformat(sep=' ')}'"


def _whole(text: str) -> int:
    try:
        return int(text.strip("()"))
    except ValueError:
        raise OracleError(1722) from None


def _joined(node: exp.DPipe) -> exp.Expr:
    """``||`` takes a NULL for nothing, and what is empty in the end for NULL."""
    whole = exp.Concat(expressions=[node.left, node.right], safe=True, coalesce=True)
    return exp.Nullif(this=whole, expression=exp.Literal.string(""))


def _raw(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql, dialect="postgres")


COMMANDS = (re.compile(r"ALTER SESSION SET (TIME_ZONE|NLS_\w+) *= *'[^']*'", re.IGNORECASE),)
"""Statements that set up a session; the answers do not depend on them here, for all moments travel in UTC."""
READ_ONLY = re.compile(r"SET TRANSACTION READ ONLY", re.IGNORECASE)
"""All later queries, up to the end of the transaction, show one moment."""
SCN_QUERIES = {
    "SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL": "flashback_package",
    "SELECT CURRENT_SCN FROM V$DATABASE": "dynamic_views",
    "SELECT TIMESTAMP_TO_SCN(SYSTIMESTAMP) FROM DUAL": None,
}
"""The ways of asking for the present moment, each with the right of an account that it takes."""

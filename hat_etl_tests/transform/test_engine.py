"""The transform of every table does to whole batches what the contract says of each row."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Column, Entity, Kind, flag, number, text
from hat_etl.transform import ISSUES, Transformed, Transformer, rejected_schema
from hat_etl_tests.transform import reference, strategies

TODAY = datetime.date(2023, 12, 31)
RUN = 7


def transform(table: str, *rows: dict[str, Any]) -> Transformed:
    """Rows of ``table`` that are good but for what they say, transformed."""
    entity = BY_TABLE[table]
    good = {column.name: strategies.good_values(column)[0] for column in entity.columns}
    full = [{"source_recno": recno, "deleted": 0} | good | row for recno, row in enumerate(rows, 1)]
    columns = {name: pa.array([row[name] for row in full], pa.int64()) for name in ("source_recno", "deleted")}
    for column in entity.columns:
        kind = pa.float64() if column.numeric_source else pa.string()
        columns[column.name] = pa.array([row[column.name] for row in full], kind)
    return Transformer(entity, run=RUN, today=TODAY)(pa.RecordBatch.from_pydict(columns))


def issues(done: Transformed) -> list[tuple[str, str, str]]:
    return [(row["column"], row["rule"], row["severity"]) for row in done.issues.to_pylist()]


def stored(value: Any, column: Column) -> Any:
    """A value of the reference model as Arrow gives it."""
    if column.kind is Kind.AMOUNT and value is not None:
        return Decimal(value).scaleb(-column.scale)
    return value


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_batch_becomes_what_each_of_its_rows_becomes(entity: Entity, data: st.DataObject) -> None:
    batch, rows = data.draw(strategies.batches(entity))
    done = Transformer(entity, run=RUN, today=TODAY)(batch)
    for part, schema in ((done.good, entity.schema), (done.rejected, rejected_schema(entity)), (done.issues, ISSUES)):
        part.validate(full=True)
        assert part.schema.equals(schema)

    live = [
        (row | {"source_stamp": stamp}, reference.transform(entity, row, TODAY))
        for row, stamp in zip(rows, _stamps(batch), strict=True)
        if row["deleted"] != 1
    ]
    assert (done.read, done.deleted) == (len(rows), len(rows) - len(live))
    assert done.good.to_pylist() == [
        {c.name: stored(model.values[c.name], c) for c in entity.columns}
        | {"source_recno": row["source_recno"], "source_stamp": row["source_stamp"], "loaded_run": RUN}
        for row, model in live
        if not model.rejected
    ]
    keys = rejected_schema(entity).names[:-1]
    assert done.rejected.to_pylist() == [
        {name: stored(model.values[name], entity[name]) for name in keys} | {"source_recno": row["source_recno"]}
        for row, model in live
        if model.rejected
    ]
    names = ("recno", "key", "column", "rule", "severity")
    found = done.issues.to_pylist()
    assert [(*(issue[name] for name in names), told(entity, issue["column"], issue["value"])) for issue in found] == [
        (row["source_recno"], model.key(entity), i.column, i.rule, i.severity, told(entity, i.column, i.value))
        for row, model in live
        for i in model.issues
    ]


def told(entity: Entity, column: str, value: str | None) -> str | None:
    """A reported value; a number may be written in more than one way."""
    return repr(float(value)) if entity[column].numeric_source and value else value


def _stamps(batch: pa.RecordBatch) -> list[datetime.datetime | None]:
    """Stamps of the raw batch in UTC."""
    if "source_stamp" not in batch.schema.names:
        return [None] * batch.num_rows
    return [
        stamp and (stamp.replace(tzinfo=datetime.UTC) if stamp.tzinfo is None else stamp.astimezone(datetime.UTC))
        for stamp in batch["source_stamp"].to_pylist()
    ]


def test_a_rejected_row_tells_all_that_is_wrong_with_it() -> None:
    done = transform("beneficiaries", {"name": " ", "birthdate": "20230229", "gender": "X", "zip_code": "0\t"})
    assert issues(done) == [
        ("name", "required", "reject"),
        ("birthdate", "invalid_date", "reject"),
        ("gender", "in", "warning"),
        ("zip_code", "control_character", "warning"),
        ("zip_code", "cep", "warning"),
    ]
    assert (done.good.num_rows, done.rejected.num_rows) == (0, 1)


def test_a_deleted_row_is_dropped_in_silence() -> None:
    done = transform("persons", {"name": None, "deleted": 1}, {})
    assert (done.read, done.deleted) == (2, 1)
    assert done.good["source_recno"].to_pylist() == [2]
    assert (done.rejected.num_rows, done.issues.num_rows) == (0, 0)


def test_a_text_too_long_for_a_key_is_no_key() -> None:
    done = transform("persons", {"person_id": "123456789", "name": "x" * 71})
    assert issues(done) == [("person_id", "too_long", "reject"), ("name", "too_long", "warning")]
    assert done.rejected.to_pylist() == [{"person_id": None, "source_recno": 1}]
    assert done.issues["key"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("entity", "name"),
    [(e, n) for e in ENTITIES for n in sorted(e.key_columns) if not any(n in key for key in e.keys)],
    ids=lambda value: value.table if isinstance(value, Entity) else value,
)
def test_a_hard_reference_outside_the_keys_is_not_cut_either(entity: Entity, name: str) -> None:
    done = transform(entity.table, {name: "1" * (entity[name].width + 1)})
    assert issues(done) == [(name, "too_long", "reject")]


def test_an_incomplete_card_is_an_empty_one() -> None:
    done = transform("beneficiaries", {"subscriber_id": "0001 002000035026"}, {"beneficiary_id": "000100020000350"})
    assert issues(done) == [("subscriber_id", "required", "reject"), ("beneficiary_id", "required", "reject")]
    assert done.issues["value"].to_pylist() == ["0001 002000035026", "000100020000350"]
    assert done.rejected["subscriber_id"].to_pylist() == [None, "00010001000001000"]


def test_a_blank_key_part_takes_its_constant() -> None:
    done = transform("product_copayment_rules", {"city_code": " ", "initial_term": "00000000"})
    assert done.good["city_code"].to_pylist() == ["-"]
    assert done.good["initial_term"].to_pylist() == [datetime.date(1900, 1, 1)]
    assert issues(done) == []


def test_search_order_is_a_number_whose_text_is_checked() -> None:
    done = transform("health_provider_specialties", *({"search_order": order} for order in ("1 ", "01", "A", None)))
    assert done.good["search_order"].to_pylist() == [1, 1, None, None]
    assert issues(done) == [
        ("search_order", "in", "warning"),
        ("search_order", "invalid_number", "warning"),
        ("search_order", "in", "warning"),
    ]


def test_a_secret_is_never_among_the_issues() -> None:
    done = transform("beneficiaries", {"token_seed": "canary\x00" * 20})
    assert issues(done) == [("token_seed", "control_character", "warning"), ("token_seed", "too_long", "warning")]
    assert "canary" not in str(done.issues.to_pylist())


def test_reasons_hold_no_value() -> None:
    done = transform("persons", {"name": "canary" * 20, "email": "canary", "holder_cpf": "canary"})
    assert len(issues(done)) == 3
    assert "canary" not in str(done.issues["reason"].to_pylist())


def test_letters_are_stored_in_upper_case_before_they_are_checked() -> None:
    done = transform("professionals", {"state_abbreviation": "sp", "professional_council": "crém"})
    assert issues(done) == []
    assert (done.good["state_abbreviation"][0].as_py(), done.good["professional_council"][0].as_py()) == ("SP", "CRÉM")


def test_a_rule_that_rejects_keeps_the_key_of_the_row() -> None:
    done = transform("beneficiary_status_history", {"event_type": "9"})
    assert issues(done) == [("event_type", "in", "reject")]
    assert done.rejected["event_type"].to_pylist() == ["9"]
    assert done.issues["key"][0].as_py().split("|")[1] == "2023-12-31"


def test_an_unlisted_flag_is_unknown() -> None:
    entity = next(entity for entity in ENTITIES if any(column.kind is Kind.FLAG for column in entity.columns))
    name = next(column.name for column in entity.columns if column.kind is Kind.FLAG)
    done = transform(entity.table, {name: "?"})
    assert issues(done) == [(name, "map", "warning")]
    assert done.good[name].to_pylist() == [None]


@pytest.mark.parametrize("name", ["name", "birthdate"])
def test_a_number_where_text_is_due_is_refused(name: str) -> None:
    entity = BY_TABLE["persons"]
    columns = {column.name: pa.array([None], pa.string()) for column in entity.columns}
    columns |= {"source_recno": pa.array([1]), name: pa.array([20240101])}
    with pytest.raises(TypeError, match=name):
        Transformer(entity, run=RUN, today=TODAY)(pa.RecordBatch.from_pydict(columns))


def transform_column(column: Column, values: pa.Array) -> Transformed:
    """A table of a key and this column."""
    key = text("key", 4, "Key", "BA1_KEY", "The key.", required=True)
    entity = Entity(
        table="t", area="contracts", view="V", reads=("BA1",), key=("key",), meaning="A table.", grain="a row",
        columns=(key, column),
    )  # fmt: skip
    recnos = pa.array(range(1, len(values) + 1), pa.int64())
    names = ["source_recno", "key", column.name]
    batch = pa.RecordBatch.from_arrays([recnos, recnos.cast(pa.string()), values], names=names)
    return Transformer(entity, run=RUN, today=TODAY)(batch)


def test_codes_are_compared_in_upper_case_where_that_is_stored() -> None:
    done = transform_column(text("c", 1, "C", "BA1_C", "A code.", rule="upper|in:A,B"), pa.array(["a", "B", "x"]))
    assert done.good["c"].to_pylist() == ["A", "B", "X"]
    assert [(row["recno"], row["rule"], row["value"]) for row in done.issues.to_pylist()] == [(3, "in", "x")]


@pytest.mark.parametrize(
    ("token", "required", "severity"),
    [("map:1=true", False, "warning"), ("map:1=true!", False, "reject"), ("map:1=true", True, "reject")],
)
def test_an_unlisted_flag_rejects_where_its_rule_or_the_column_says_so(
    token: str, required: bool, severity: str
) -> None:
    column = flag("c", "C", "BA1_C", "A flag.", rule=token).model_copy(update={"required": required})
    done = transform_column(column, pa.array(["1", "?"]))
    assert issues(done) == [("c", "map", severity)]
    assert done.good["c"].to_pylist() == ([True, None] if severity == "warning" else [True])


def test_a_required_flag_may_not_be_empty() -> None:
    column = flag("c", "C", "BA1_C", "A flag.", rule="map:1=true").model_copy(update={"required": True})
    assert issues(transform_column(column, pa.array(["1", " "]))) == [("c", "required", "reject")]


def test_decimals_are_numbers_too() -> None:
    column = number("c", Kind.AMOUNT, "C", "BA1_C", "An amount.", scale=2)
    raw = pa.array([Decimal("1.005"), Decimal("-2"), None], pa.decimal128(30, 10))
    assert transform_column(column, raw).good["c"].to_pylist() == [Decimal("1.01"), Decimal("-2.00"), None]


@pytest.mark.parametrize(("unit", "factor"), [("s", 10**-6), ("ms", 10**-3), ("us", 1), ("ns", 10**3)])
def test_stamps_of_any_precision_come_out_in_microseconds(unit: str, factor: float) -> None:
    entity = BY_TABLE["persons"]
    good = {column.name: pa.array([strategies.good_values(column)[0]], pa.string()) for column in entity.columns}
    second = 1_700_000_000 * 10**6
    stamp = pa.array([int(second * factor) + (unit == "ns")], pa.int64()).cast(pa.timestamp(unit))
    batch = pa.RecordBatch.from_pydict({"source_recno": pa.array([1]), "source_stamp": stamp} | good)
    done = Transformer(entity, run=RUN, today=TODAY)(batch)
    assert done.good["source_stamp"].cast(pa.int64()).to_pylist() == [second]


@pytest.mark.parametrize(
    "column",
    [
        text("c", 1, "C", "BA1_C", "A text.", rule="positive"),
        flag("c", "C", "BA1_C", "A flag.", rule="map:1=true|digits"),
    ],
)
def test_a_rule_that_does_not_fit_its_column_is_refused(column: Column) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        transform_column(column, pa.nulls(1, pa.string()))

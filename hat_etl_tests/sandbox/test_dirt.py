from __future__ import annotations

from collections import Counter
from itertools import chain

import psycopg

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import ENGINE_RULES
from hat_etl.sandbox.command import Manifest
from hat_etl.sandbox.server import PLS, READER, Sandbox
from hat_etl_tests.sandbox import plain_contract


def test_a_load_has_to_report_exactly_what_was_planted(dirty: tuple[Sandbox, Manifest]) -> None:
    sandbox, manifest = dirty
    with psycopg.connect(sandbox.url(PLS, READER)) as connection:
        reported = Counter(plain_contract.report(connection, manifest.company, manifest.built_on))
    planted = Counter((p.table, p.recno, p.rule, p.severity, p.column) for p in manifest.planted)
    assert reported - planted == Counter()
    assert planted - reported == Counter()


def test_every_rule_of_the_contract_is_broken_somewhere(dirty: tuple[Sandbox, Manifest]) -> None:
    declared = {rule.name for entity in ENTITIES for column in entity.columns for rule in column.rules}
    # No text can be too long where the physical field is no wider than the column; upper is no check.
    possible = (declared | ENGINE_RULES) - {"too_long", "upper"}
    assert {planted.rule for planted in dirty[1].planted} == possible


def test_rows_are_rejected_held_and_warned_of(dirty: tuple[Sandbox, Manifest]) -> None:
    assert {planted.severity for planted in dirty[1].planted} == {"reject", "held", "warning"}


def test_a_row_carries_one_kind_of_dirt(dirty: tuple[Sandbox, Manifest]) -> None:
    kinds: dict[tuple[str, int], set[str]] = {}
    for planted in dirty[1].planted:
        kinds.setdefault((planted.table, planted.recno), set()).add(planted.rule)
    assert set(map(len, kinds.values())) == {1}


def test_a_held_parent_holds_all_below_it(dirty: tuple[Sandbox, Manifest]) -> None:
    held = {planted.table for planted in dirty[1].planted if planted.severity == "held"}
    below_a_card = [entity.table for entity in ENTITIES if any(p.table == "beneficiaries" for p in entity.hard_parents)]
    assert set(chain(["companies", "families", "beneficiaries"], below_a_card)) <= held

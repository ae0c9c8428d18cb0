"""Run a test for every table of the contract."""

from __future__ import annotations

import pytest

from hat_etl.entities import ENTITIES

each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)

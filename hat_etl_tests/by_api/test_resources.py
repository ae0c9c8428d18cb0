"""How rows become bodies of HAT's cadastral API."""

from __future__ import annotations

from typing import Any

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.hat_api.resources import RESOURCES, Resource, route
from hat_etl.sandbox.hat.cadastral import KEYS

_READ_ONLY = {"health_insurers", "procedures"}
"""HAT publishes ways to read these, none to write them."""


def row(table: str, **values: Any) -> dict[str, Any]:
    return {column.name: values.get(column.name) for column in BY_TABLE[table].columns}


def test_every_table_with_an_api_that_writes_has_a_resource() -> None:
    assert set(RESOURCES) == {entity.table for entity in ENTITIES if entity.hat_api} - _READ_ONLY


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_the_path_is_that_of_the_contract(resource: Resource) -> None:
    path = resource.path.replace("{id_on_health_insurer}", "{idOnHealthInsurer}")
    assert path == f"/{resource.entity.hat_api}"


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_what_it_names_are_columns_and_its_properties_differ(resource: Resource) -> None:
    columns = {column.name for column in resource.entity.columns}
    assert resource.omit | resource.cleared | set(resource.names) <= columns
    properties = [resource.property_of(name) for name in columns - resource.omit]
    assert len(set(properties)) == len(properties)


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_the_sandboxs_own_keys_are_among_the_properties(resource: Resource) -> None:
    kinds = [resource.path, *(f"{resource.path} {level}" for level in resource.head.values())]
    kind = f"{resource.path} {resource.within}" if resource.within else kinds[-1]
    sent = {resource.property_of(column.name) for column in resource.entity.columns if column.name not in resource.omit}
    assert set(KEYS.get(kind, ())) <= sent
    assert kind in KEYS or resource.billing or "{" in resource.path


def test_a_location_is_sent_as_hat_spells_it() -> None:
    values = row(
        "attendance_locations", health_provider_code="000001", health_insurer_id="0001", location_code="001",
        zip_code="01001000", city_name="SÃO PAULO", block_date=None,
    )  # fmt: skip
    assert RESOURCES["attendance_locations"].body(values, "412345") == {
        "healthInsurerId": "0001",
        "ansRegistry": "412345",
        "locations": [
            {
                "healthProviderCode": "000001", "locationCode": "001", "ZIPCode": "01001000", "cityName": "SÃO PAULO",
                "blockDate": "",
            }
        ],
    }  # fmt: skip


def test_days_flags_and_placeholders_of_keys_are_sent_as_the_erp_has_them() -> None:
    values = row(
        "health_provider_specialties", health_provider_code="1", health_insurer_id="0001", location_code="001",
        specialty_code="010", subspecialty_code="-", consider_specialty=False, block_date="2026-02-01", search_order=2,
    )  # fmt: skip
    (item,) = RESOURCES["health_provider_specialties"].body(values, "412345")["specialties"]
    assert item == {
        "healthProviderCode": "1", "locationCode": "001", "specialtyCode": "010", "considerSpecialty": "0",
        "blockDate": "20260201", "searchOrder": 2,
    }  # fmt: skip


def test_a_professional_is_a_body_of_its_own() -> None:
    values = row("professionals", id_on_health_insurer="000/01", name="ANA", health_insurer_id="0001")
    resource = RESOURCES["professionals"]
    assert resource.body(values, "412345") == {"idOnHealthInsurer": "000/01", "name": "ANA"}
    assert resource.own_address(values) == "/professionals/000%2F01"


def test_a_rule_of_coverage_says_its_level_and_one_inside_its_parent_only_the_parents_key() -> None:
    family = row("family_coverage_groups", health_insurer_id="0001", company_id="0002", subscriber_id="000003",
                 coverage_group_code="004")  # fmt: skip
    body = RESOURCES["family_coverage_groups"].body(family, "412345")
    assert body["coverageGroupLevel"] == "familia"
    granted = row("beneficiary_coverage_groups", subscriber_id="0001000200000300", health_insurer_id="0001", code="004")
    assert RESOURCES["beneficiary_coverage_groups"].body(granted, "412345")["items"] == [
        {"subscriberId": "0001000200000300", "coverageGroups": [{"code": "004"}]}
    ]


def test_a_cancellation_is_sent_under_its_number() -> None:
    values = row("authorization_cancellations", id_on_health_insurer="000120260100000007", motivo_cancelamento="1")
    resource = RESOURCES["authorization_cancellations"]
    assert resource.address(values) == "/authorizations/000120260100000007/cancel"
    assert resource.body(values, "412345")["authorizationsToCancel"] == [
        {"idOnHealthInsurer": "000120260100000007", "justification": "1"}
    ]


def test_what_does_not_go_by_api_is_told() -> None:
    assert "straight to the database" in route("companies")
    assert "exclusions go straight" in route("persons")
    assert "database" not in route("professionals")

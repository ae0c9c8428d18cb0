"""How the rows of each HAT table go to HAT's cadastral API: path, body, and which changes it takes.

Paths, the names that hold the rows and the properties of professionals, health providers, their status, locations and
specialties, and pre-existing diseases are those of TOTVS's published schemas. Those of the other tables are not
published: they follow what the ERP sends, and are to be confirmed with the first tenant that uses them. No published
API writes health insurers or procedures, and none but that of professionals excludes a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import quote

from pydantic.alias_generators import to_camel

from hat_etl.entities import BY_TABLE
from hat_etl.entities.model import Column, Entity, Kind
from hat_etl.target.sink import CHANGE, EXCLUDE, INCLUDE

INSURER = "health_insurer_id"
"""Column that names the insurer once, at the head of a body."""


@dataclass(frozen=True)
class Resource:
    """The API that takes the rows of one table. Rows are as PostgreSQL writes them in JSON."""

    table: str
    path: str
    """Below the base path; ``{column}`` stands for the row's value."""
    node: str | None = "items"
    """Property of the body that holds the row in a list; None: the row is the body."""
    codes: tuple[str, str] = ("", "")
    """Codes under which the ERP knows an inclusion and a change of these rows."""
    head: Mapping[str, str] = field(default_factory=dict)
    """Further properties at the head of the body."""
    omit: frozenset[str] = frozenset()
    """Columns that the API has no property for."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Properties that are not the column's name in camel case."""
    cleared: frozenset[str] = frozenset()
    """Columns that are sent empty when they are; others are left out then."""
    within: str | None = None
    """The rows are given inside their parent: property of the parent that lists them."""
    actions: frozenset[str] = frozenset({INCLUDE, CHANGE})
    one_by_one: bool = False
    """Each row has an address of its own, to be read, changed (PUT) and deleted there."""
    billing: bool = False
    """The path lies below that of the billing API."""

    @property
    def entity(self) -> Entity:
        return BY_TABLE[self.table]

    def code(self, action: str) -> str:
        """The ERP's code of an action; empty where it has none."""
        return dict(zip((INCLUDE, CHANGE), self.codes, strict=True)).get(action, "")

    @property
    def readable(self) -> bool:
        """Whether the API may be asked for one of these rows."""
        return self.within is None and "{" not in self.path and not self.billing

    def address(self, row: Mapping[str, Any]) -> str:
        """Where the row is sent to."""
        return self.path.format_map({name: quote(str(value), safe="") for name, value in row.items()})

    def own_address(self, row: Mapping[str, Any]) -> str:
        """Where a row of its own is read, changed and deleted."""
        return "/".join([self.path, *(quote(str(row[name]), safe="") for name in self.entity.key)])

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with HAT's names and values."""
        item = {}
        for column in self.entity.columns:
            if column.name == INSURER or column.name in self.omit:
                continue
            value = _value(column, row[column.name])
            if value is None and column.name in self.cleared:
                value = ""
            if value is not None:
                item[self.property_of(column.name)] = value
        return item

    def key_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Those properties of ``item`` that tell which row it is."""
        names = {self.property_of(name) for name in self.entity.key}
        return {name: value for name, value in self.item(row).items() if name in names}

    def body(self, row: Mapping[str, Any], ans_registry: str) -> dict[str, Any]:
        """What is sent to include or to change the row."""
        item = self.item(row)
        if self.node is None:
            return item
        if self.within is not None:
            parent = self.property_of(self.entity.key[0])
            item = {parent: item.pop(parent), self.within: [item]}
        insurer = {"healthInsurerId": str(row[INSURER])} if row.get(INSURER) else {}
        return {**insurer, "ansRegistry": ans_registry, **self.head, self.node: [item]}

    def property_of(self, column: str) -> str:
        """HAT's name of a column."""
        return self.names.get(column, to_camel(column))


def _value(column: Column, value: Any) -> Any:
    """A value as HAT takes it: days as ``YYYYMMDD``, flags in the ERP's own code; None where there is none."""
    if value is None or (column.source.constant is not None and str(value) == _placeholder(column)):
        return None
    match column.kind:
        case Kind.DATE:
            return date.fromisoformat(value).strftime("%Y%m%d")
        case Kind.FLAG:
            rule = column.rule("map")
            return next((code for code, stored in (rule.mapping if rule else {}).items() if stored == value), None)
    return value


def _placeholder(column: Column) -> str:
    """What stands in a key for "none"; HAT's API knows no such thing."""
    constant = str(column.source.constant)
    return f"{constant[:4]}-{constant[4:6]}-{constant[6:]}" if column.kind is Kind.DATE else constant


_ZIP = {"zip_code": "ZIPCode"}
_PROCEDURES, _GROUPS = "coverageProcedureLevel", "coverageGroupLevel"

RESOURCES: dict[str, Resource] = {
    resource.table: resource
    for resource in (
        Resource("coverage_group_procedures", "/coverages/groupLevel", codes=("0051", "0052"), head={_GROUPS: "grupo"}),
        Resource(
            "professionals",
            "/professionals",
            node=None,
            omit=frozenset({"block_date"}),
            actions=frozenset({INCLUDE, CHANGE, EXCLUDE}),
            one_by_one=True,
        ),
        Resource(
            "health_providers",
            "/healthProviders",
            node="providers",
            codes=("0003", "0004"),
            omit=frozenset({"professional_code", "inclusion_date", "block_date"}),
        ),
        Resource(
            "health_provider_status_history", "/healthProviderStatus", node="providers", codes=("0025", "0026")
        ),
        Resource(
            "attendance_locations",
            "/attendanceLocations",
            node="locations",
            codes=("0027", "0028"),
            names=_ZIP,
            cleared=frozenset({"block_date"}),
        ),
        Resource(
            "health_provider_specialties",
            "/healthProviderSpecialties",
            node="specialties",
            codes=("0029", "0030"),
            cleared=frozenset({"block_date"}),
        ),
        Resource("clinical_staff", "/clinicalStaff", codes=("0005", "0006")),
        Resource(
            "health_provider_procedure_coverages",
            "/healthProviders",
            node="providers",
            within="procedureCoverage",
            codes=("0003", "0004"),
            omit=frozenset(
                {"subspecialty_code", "block_reason_code", "prior_authorization"}
                | {f"level_code0{number}" for number in range(1, 5)}
            ),
        ),
        Resource(
            "batch_authorizations",
            "/batchesAuthorization/integration",
            codes=("0050", "0050"),
            omit=frozenset({"typing_location", "protocol_number", "receipt_date"}),
            billing=True,
        ),
        Resource(
            "authorization_cancellations",
            "/authorizations/{id_on_health_insurer}/cancel",
            node="authorizationsToCancel",
            codes=("0053", ""),
            names={"motivo_cancelamento": "justification"},
            omit=frozenset({"health_provider_code", "authorization_type", "authorization_date"}),
            actions=frozenset({INCLUDE}),
        ),
        Resource("persons", "/persons", codes=("0021", "0022"), names={"holder_cpf": "holderCPF"}),
        Resource(
            "beneficiaries",
            "/beneficiaries",
            codes=("0001", "0002"),
            names={"holder_cpf": "holderCPF", **_ZIP},
            cleared=frozenset({"social_name", "blocked_date", "token_seed"}),
        ),
        Resource("beneficiary_coverage_groups", "/beneficiaries", within="coverageGroups", codes=("0001", "0002")),
        Resource(
            "beneficiary_status_history",
            "/beneficiaryStatus",
            codes=("0023", "0024"),
            names={"entry_date": "entry_date", "entry_hour": "entry_hour"},
            omit=frozenset({"block_reason_code", "block_level"}),
        ),
        Resource("pre_existing_diseases", "/preExistingDiseases", node="diseases", codes=("0019", "0020")),
        Resource(
            "beneficiary_procedure_coverages", "/coverages/procedureLevel",
            codes=("0031", "0032"), head={_PROCEDURES: "beneficiario"},
        ),
        Resource(
            "family_procedure_coverages", "/coverages/procedureLevel",
            codes=("0033", "0034"), head={_PROCEDURES: "familia"},
        ),
        Resource(
            "family_coverage_groups", "/coverages/groupLevel", codes=("0040", "0041"), head={_GROUPS: "familia"}
        ),
        Resource(
            "subcontract_procedure_coverages", "/coverages/procedureLevel",
            codes=("0042", "0043"), head={_PROCEDURES: "subcontrato"},
        ),
        Resource(
            "subcontract_coverage_groups", "/coverages/groupLevel",
            codes=("0044", "0045"), head={_GROUPS: "subcontrato"},
        ),
        Resource(
            "product_procedure_coverages", "/coverages/procedureLevel",
            codes=("0046", "0047"), head={_PROCEDURES: "produto"},
        ),
        Resource(
            "product_coverage_groups", "/coverages/groupLevel", codes=("0048", "0049"), head={_GROUPS: "produto"}
        ),
    )
}  # fmt: skip
"""By table. Tables that are not here have no API that writes them."""


def route(table: str) -> str:
    """How the changes of a table go, in words for a plan."""
    resource = RESOURCES.get(table)
    if resource is None:
        return "no API of HAT writes this table: all changes go straight to the database"
    left = [word for action, word in _LEFT.items() if action not in resource.actions]
    rest = f"; {' and '.join(left)} go straight to the database" if left else ""
    return f"to HAT's API {resource.path}{rest}"


_LEFT = {CHANGE: "changes", EXCLUDE: "exclusions"}

"""Every HAT table, declared once; parents stand before their children, which is the order of loading."""

from __future__ import annotations

from hat_etl.entities import beneficiaries, contracts, coverages, providers
from hat_etl.entities.model import Entity

ENTITIES: tuple[Entity, ...] = (
    contracts.health_insurers,
    contracts.companies,
    contracts.products,
    contracts.user_types,
    contracts.kinships,
    contracts.contracts,
    contracts.subcontracts,
    contracts.subcontract_products,
    coverages.procedure_tables,
    coverages.waiting_period_classes,
    coverages.procedures,
    coverages.coverage_groups,
    coverages.coverage_group_procedures,
    providers.specialties,
    providers.professionals,
    providers.health_providers,
    providers.health_provider_status_history,
    providers.attendance_locations,
    providers.health_provider_specialties,
    providers.clinical_staff,
    providers.health_provider_procedure_coverages,
    providers.health_provider_products,
    providers.batch_authorizations,
    providers.authorization_cancellations,
    beneficiaries.persons,
    beneficiaries.families,
    beneficiaries.beneficiaries,
    beneficiaries.beneficiary_coverage_groups,
    beneficiaries.beneficiary_status_history,
    beneficiaries.pre_existing_diseases,
    coverages.beneficiary_procedure_coverages,
    coverages.family_procedure_coverages,
    coverages.family_coverage_groups,
    coverages.subcontract_procedure_coverages,
    coverages.subcontract_coverage_groups,
    coverages.product_procedure_coverages,
    coverages.product_coverage_groups,
    coverages.beneficiary_waiting_periods,
    coverages.family_waiting_periods,
    coverages.subcontract_waiting_periods,
    coverages.product_waiting_periods,
    contracts.product_copayment_rules,
    contracts.beneficiary_copayment_rules,
)

BY_TABLE: dict[str, Entity] = {entity.table: entity for entity in ENTITIES}

AREAS: tuple[str, ...] = ("beneficiaries", "providers", "coverages", "contracts")

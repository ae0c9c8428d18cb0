"""The script for a DBA on Oracle: what it makes, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.sandbox.oracle import views as oracle_views
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import PLS, READER
from hat_etl.source import views
from hat_etl.source.view_text import check_sql
from hat_etl_tests.failures.ground import Ground, Server
from hat_etl_tests.oracle.conftest import address
from hat_etl_tests.views.conftest import tenant

ORACLE = {"dialect": "oracle", "schema": "protheus", "views_schema": "hat"}


def test_views_made_by_the_script_show_what_those_of_postgresql_show(
    server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    before = ground.contents()
    ground.pls = server.copy(PLS)
    script = views.script(tenant(**ORACLE), "oracle", reader="HAT_READER")
    with psycopg.connect(server.url(ground.pls, READER)) as connection:
        made = oracle_views.install(connection, script)
    assert made == [entity.view for entity in ENTITIES]
    ground.erp_url = address(start_oracle(ground.pls))
    ground.load()
    assert ground.contents() == before


@pytest.mark.parametrize(
    ("table", "old", "new", "said"),
    [
        ("persons", "a.BTS_NOMUSR AS Nome,", "", "lacks Nome"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMUXR AS Nome", "BTS_NOMUXR"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMUSR", "lacks Nome"),
        ("persons", "a.BTS_NOMUSR AS Nome", "a.BTS_NOMUSR::text AS Nome", "::"),
        ("persons", "FROM protheus.BTS010 a", "FROM protheus.BTS010 AS a", "AS before the alias of a table"),
        ("persons", "FROM protheus.BTS010 a", "FRO protheus.BTS010 a", "no statement"),
        ("persons", "FROM protheus.BTS010 a", "FROM protheus.BTS010 a LIMIT 10", "LIMIT"),
        ("persons", "FROM protheus.BTS010 a", "FROM protheus.BTS010 a WHERE TRUE", "BOOLEAN"),
        ("persons", "FROM protheus.BTS010 a", "FROM protheus.BTS010 a ORDER BY a.BTS_NOMUSR", "ORDER"),
        ("persons", "SELECT", "SELECT DISTINCT ON (a.BTS_MATVID)", "DISTINCT"),
        ("persons", "FROM protheus.BTS010 a", "FROM protheus.BTS010 a, protheus.BTS010 b", "joins without ON"),
        ("persons", "a.BTS_SEXO AS", "SUBSTRING(a.BTS_SEXO FROM 1 FOR 1) AS", "SUBSTR"),
        ("persons", "a.BTS_SEXO AS", "GREATEST(a.BTS_SEXO, '0') AS", "GREATEST"),
        ("persons", "a.BTS_SEXO AS", "CASE WHEN a.BTS_SEXO ILIKE 'm' THEN a.BTS_SEXO END AS", "ILIKE"),
        ("persons", "a.BTS_SEXO AS", "CASE WHEN a.BTS_SEXO = '' THEN a.BTS_SEXO END AS", "NULL on Oracle"),
        ("persons", "a.BTS_SEXO AS", "CASE WHEN a.BTS_SEXO ~ 'm' THEN a.BTS_SEXO END AS", "no statement"),
        ("persons", "a.BTS_SEXO AS", "CASE WHEN a.BTS_SEXO = 'm' THEN a.BTS_SEXO AS", "no statement"),
        ("persons", "a.BTS_SEXO AS", "CAST(a.BTS_SEXO AS INTEGER) AS", "casts to"),
        ("persons", "a.BTS_SEXO AS", "string_agg(a.BTS_SEXO, ',') AS", "portable functions"),
        ("persons", "a.BTS_SEXO AS", "unknown_function(a.BTS_SEXO) AS", "portable functions"),
        ("persons", "AS NomeSocial,", "AS NomeSocial,,", "comma too many"),
        ("persons", "AS NomeSocial,", "AS EnderecoEletronicoDoBeneficiarioTitular,", "longer than 30"),
        ("beneficiaries", "AND k.BA3_MATRIC = a.BA1_MATRIC", "", "joined on BA1_MATRIC = BA3_MATRIC"),
        ("beneficiaries", "ON k.BA3_CODINT = a.BA1_CODINT", "ON k.BA3_CODINT = a.BA1_CODINT (+)", "(+)"),
        ("beneficiaries", ", j.BA3_MATRIC\n)", "\n)", "does not group by it"),
        ("beneficiaries", ") k ON", ") AS k ON", "alias of a subquery"),
    ],
)
def test_a_text_that_oracle_would_refuse_or_read_otherwise_is_found(table: str, old: str, new: str, said: str) -> None:
    entity = BY_TABLE[table]
    text = views.render(entity, tenant(**ORACLE), "oracle")
    assert check_sql(entity, text, "01", "oracle") == []
    assert old in text
    findings = check_sql(entity, text.replace(old, new), "01", "oracle")
    assert any(said in finding.message for finding in findings), findings
    assert all(finding.level == "error" and finding.view == entity.view for finding in findings)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("CREATE OR REPLACE VIEW hat.HAT_BIH_TipoUsuario", "DROP VIEW hat.HAT_BIH_TipoUsuario", 900),
        ("hat.HAT_BIH_TipoUsuario AS", "hat.HAT_BIH_TipoUsuarioDoPlanoDeSaude AS", 972),
        ("a.BIH_DESCRI AS", "GREATEST(a.BIH_DESCRI, 'A') AS", 900),
        ("a.BIH_DESCRI AS", "a.BIH_DESCRI || CHR(10) AS", 900),
    ],
)
def test_the_sandbox_refuses_a_script_that_an_old_oracle_would_and_makes_no_view(
    old: str, new: str, code: int, server: Server
) -> None:
    script = views.script(tenant(**ORACLE), "oracle", reader="HAT_READER")
    assert old in script
    database = server.copy(PLS)
    query = "SELECT oid, relname FROM pg_class WHERE relkind = 'v' ORDER BY 1"
    try:
        with psycopg.connect(server.url(database, READER), autocommit=True) as connection:
            before = connection.execute(query).fetchall()
            with pytest.raises(OracleError) as refused:
                oracle_views.install(connection, script.replace(old, new))
            assert refused.value.code == code
            assert connection.execute(query).fetchall() == before
    finally:
        server.drop(database)

"""What the catalogue of an ERP tells of the tables below the views, and what comes of it, alike on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.oracle import views as oracle_views
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import PLS, READER
from hat_etl.source import views
from hat_etl.source.erp import open_source
from hat_etl.tenants import store
from hat_etl_tests.failures.ground import Ground, Server
from hat_etl_tests.oracle.conftest import address
from hat_etl_tests.views.conftest import tenant

MakeErp = Callable[..., Ground]
each_dialect = pytest.mark.parametrize("dialect", ["postgresql", "oracle"])


@pytest.fixture
def erp(server: Server, make_ground: Callable[..., Ground], start_oracle: Callable[..., OracleServer]) -> MakeErp:
    """Makes a loaded tenant of either database, with a PLS of its own."""

    def make(dialect: str, **settings: str) -> Ground:
        ground = make_ground(pls=server.copy(PLS), dialect=dialect, **settings)
        if dialect == "oracle":
            ground.erp_url = address(start_oracle(ground.pls))
        return ground

    return make


def make_views(ground: Ground, change: Callable[[str], str] = str) -> None:
    """Run the script for a DBA, as ``change`` leaves it; the schema of the views is there."""
    loaded = tenant(dialect=ground.dialect, schema="protheus", views_schema="hat")
    script = change(views.script(loaded, loaded.erp.dialect, reader=READER))
    with psycopg.connect(ground.server.url(ground.pls, READER), autocommit=True) as connection:
        if ground.dialect == "oracle":
            oracle_views.install(connection, script)
        else:
            connection.execute(re.sub("CREATE SCHEMA .*", "", script).encode())


@each_dialect
def test_a_view_that_would_cut_numbers_stops_every_run_until_it_is_made_anew_and_then_they_are_rejected(
    dialect: str, erp: MakeErp
) -> None:
    """Two authorizations became one, and only `views check` would have said why."""
    ground = erp(dialect)
    with ground.in_erp() as connection:
        connection.execute("DROP VIEW hat.hat_bea_cancelamento")
        connection.execute("ALTER TABLE protheus.bea010 ALTER bea_numaut TYPE character(10)")
        twins = [recno for (recno,) in connection.execute(
            "UPDATE protheus.bea010 SET bea_opemov = '0001', bea_anoaut = '2024', bea_mesaut = '01',"
            " bea_numaut = '001234560' || row_number FROM (SELECT r_e_c_n_o_ AS recno, row_number() OVER ()"
            " FROM protheus.bea010 WHERE bea_canedi > ' ' AND d_e_l_e_t_ = ' ' LIMIT 2) t WHERE r_e_c_n_o_ = recno"
            " RETURNING r_e_c_n_o_"
        )]  # fmt: skip
    make_views(ground)
    for command in (["plan"], ["load"], ["sync", "--accept"], ["doctor"]):
        stopped = ground.run(*command, ground.name)
        assert stopped.exit_code in (4, 6), (command, stopped)
        told = stopped.out + stopped.err
        assert "Field BEA_NUMAUT has 10 characters" in told, command
        assert f"hat-etl views install {ground.name}" in told
    if dialect == "oracle":
        make_views(ground, lambda _: ground.run("views", "render", ground.name).out)
    else:
        assert ground.run("views", "install", ground.name).exit_code == 0
    ground.load()
    with ground.in_hat() as connection:
        cut = "SELECT FROM hat.authorization_cancellations WHERE id_on_health_insurer LIKE '000120240100123456%'"
        assert connection.execute(cut).fetchall() == []
        rejected = "SELECT recno FROM hat_etl.rejects WHERE rule = 'required' AND recno = ANY (%s) AND \"table\" = %s"
        found = connection.execute(rejected, (twins, "authorization_cancellations")).fetchall()
        assert sorted(recno for (recno,) in found) == sorted(twins)
    assert "BEA_NUMAUT has 10 characters" in ground.run("doctor", ground.name).out


@each_dialect
def test_a_memo_leaves_its_column_empty_and_stops_nothing_once_the_view_is_made_as_told(
    dialect: str, erp: MakeErp
) -> None:
    """A memo BCA_OBS kept all tables from being loaded, and what the message told to do brought the same message."""
    ground = erp(dialect)
    with ground.in_hat() as connection:
        count = "SELECT count(*), count(reason) FROM hat.beneficiary_status_history"
        before = connection.execute(count).fetchone()
    with ground.in_erp() as connection:
        connection.execute("DROP VIEW hat.hat_bca_statusbeneficiario")
        connection.execute("ALTER TABLE protheus.bca010 ALTER bca_obs DROP DEFAULT, ALTER bca_obs DROP NOT NULL")
        connection.execute("ALTER TABLE protheus.bca010 ALTER bca_obs TYPE bytea USING convert_to(bca_obs, 'WIN1252')")
    make_views(ground)
    stopped = ground.run("load", ground.name)
    assert stopped.exit_code == 6
    assert f"hat-etl views install {ground.name}" in stopped.err
    assert f"hat-etl views render {ground.name} --memo BCA_OBS" in stopped.err
    if dialect == "oracle":
        make_views(ground, lambda _: ground.run("views", "render", ground.name, "--memo", "BCA_OBS").out)
    else:
        assert "Motivo" in ground.run("views", "install", ground.name).out
    ground.load()
    with ground.in_hat() as connection:
        after = connection.execute(count).fetchone()
        assert before is not None
        assert before[1] > 0
        assert after == (before[0], 0)
    for command in (["views", "check"], ["doctor"]):
        looked = ground.run(*command, ground.name)
        assert looked.exit_code == 0, looked
        assert "BCA_OBS is a memo" in looked.out


def test_without_a_schema_the_catalogue_tells_of_the_logins_own_tables_or_else_of_the_only_ones(
    erp: MakeErp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables of a schema for tests were taken for the operator's: their widths, their stamps, their rows."""
    ground = erp("oracle", schemas='views_schema = "hat"')
    ground.write()
    monkeypatch.setenv("HAT_ETL_TENANTS", str(ground.folder))

    def told() -> tuple[int | None, bool | None, int]:
        """Width of a field, whether a table has a stamp, and how many rows it has."""
        with closing(open_source(store.load(ground.name), "hat-etl doctor")) as source:
            fields, rows = source.fields(), source.describe(BY_TABLE["user_types"]).estimated_rows
            unindexed = source.unindexed_stamps()
        width = fields["BEA"]["BEA_NUMAUT"].width if "BEA" in fields else None
        bare = None if unindexed is None else "BIH010" in {found.table for found in unindexed}
        assert (bare is None) is (width is None)
        return width, bare and "S_T_A_M_P_" in fields["BIH"], rows

    with ground.in_erp() as connection:

        def made(schema: str, width: int) -> None:
            connection.execute(
                f"CREATE SCHEMA IF NOT EXISTS {schema}; GRANT USAGE ON SCHEMA {schema} TO {READER};"
                f"CREATE TABLE {schema}.bea010 (bea_numaut character({width}));"
                f"CREATE TABLE {schema}.bih010 (bih_codigo character(1));"
                f"INSERT INTO {schema}.bih010 SELECT 'x' FROM generate_series(1, 777); ANALYZE {schema}.bih010;"
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {READER}".encode()
            )

        operators = told()
        assert operators[:2] == (8, True)
        made("teste", 10)
        assert told()[:2] == (None, None)
        assert told()[2] != 777
        made("hat", 9)
        assert told() == (9, False, 777)

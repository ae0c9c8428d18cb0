"""Installing the views into a live ERP, and checking them there."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.errors import ConfigurationError, DecisionNeeded, SourceError
from hat_etl.source import view_live, views
from hat_etl_tests.views import pls
from hat_etl_tests.views.conftest import Erp, tenant


def made(connection: Connection[Any], schema: str) -> set[str]:
    rows = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", (schema,))
    return {str(row[0]) for row in rows}


ALL = {entity.view.lower() for entity in ENTITIES}


def test_all_views_are_made_as_the_entities_expect_them(erp: Erp) -> None:
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    with erp.connect() as connection:
        pls.create(connection, tables)
        done = view_live.install(loaded)
        assert made(connection, target) == ALL
        assert set(done.views) == {entity.view for entity in ENTITIES}
        assert (done.remade, done.stampless) == ((), ())
        comment = connection.execute("SELECT obj_description(to_regclass(%s))", (f"{target}.hat_bts_vida",)).fetchone()
        assert comment is not None
        assert "HAT table persons" in comment[0]
    result = view_live.check(loaded, "postgresql")
    assert result.live
    assert result.findings == []


def test_installing_again_changes_nothing(erp: Erp) -> None:
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    with erp.connect() as connection:
        pls.create(connection, tables)
        view_live.install(loaded)
        before = connection.execute("SELECT oid, relname FROM pg_class WHERE relkind = 'v' ORDER BY 1").fetchall()
        assert view_live.install(loaded).remade == ()
        assert (
            connection.execute("SELECT oid, relname FROM pg_class WHERE relkind = 'v' ORDER BY 1").fetchall() == before
        )


def test_views_lie_beside_the_tables_unless_they_have_a_schema(erp: Erp) -> None:
    tables, _ = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables)
        view_live.install(erp.tenant(tables.upper()))
        assert made(connection, tables) == ALL


def test_tables_without_stamps_give_views_without_carimbo(erp: Erp) -> None:
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    with erp.connect() as connection:
        pls.create(connection, tables, stampless={"BA3", "BTS"})
        assert view_live.install(loaded).stampless == ("BA3", "BTS")
        pls.insert(connection, tables, "BTS", 1)
        row = connection.execute(f"SELECT carimbo FROM {target}.hat_bts_vida".encode()).fetchone()
        assert row == (None,)
    known = view_live.known(loaded, "postgresql", "auto")
    assert known.found.stampless == {"BA3", "BTS"}
    assert "BA3, BTS" in known.note
    assert not view_live.check(loaded, "postgresql").failed


def test_lengths_that_the_database_has_not_told_are_named_where_it_has_told_others(erp: Erp) -> None:
    """A reader who was shown one table only was warned of none: the views cut the numbers of the others off."""
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables, widths={"BEA_NUMAUT": 10})
        connection.execute(f"DROP TABLE {tables}.ba1010, {tables}.bca010".encode())
    known = view_live.known(erp.tenant(tables, target), "postgresql", "auto")
    assert known.found.wide == {"BEA_NUMAUT"}
    _, told, untold = known.note.partition("has not told the length: ")
    assert told
    named = untold.partition(".")[0].split(", ")
    assert {"BA1_MATRIC 6", "BCA_TIPREG 2"} <= set(named)
    assert not any(field.startswith("BEA_") for field in named)


def test_a_memo_is_found_and_its_column_shown_empty(erp: Erp) -> None:
    """The view showed the bytes of the memo, which no load takes for a text."""
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(f"ALTER TABLE {tables}.bca010 DROP bca_obs, ADD bca_obs bytea".encode())
        connection.execute(f"ALTER TABLE {tables}.bts010 DROP bts_nomusr, ADD bts_nomusr bytea".encode())
        assert view_live.install(loaded).emptied == ("HAT_BCA_StatusBeneficiario.Motivo",)
        pls.insert(connection, tables, "BCA", 1, BCA_OBS=b"Mudou de plano.")
        shown = connection.execute(f"SELECT motivo FROM {target}.hat_bca_statusbeneficiario".encode()).fetchone()
        assert shown == (None,)
    known = view_live.known(loaded, "postgresql", "auto")
    assert known.found.memos == {"BCA_OBS", "BTS_NOMUSR"}
    assert "BCA_OBS" in known.note
    # What HAT must have is no text, and no view can make it one.
    (wrong,) = (finding for finding in view_live.check(loaded, "postgresql").findings if finding.level == "error")
    assert (wrong.view, wrong.column) == ("HAT_BTS_Vida", "Nome")
    assert "SX3" in wrong.next_step


def test_the_rendered_script_makes_the_same_views_and_lets_the_reader_read(erp: Erp) -> None:
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    reader = f"reader_{tables}"
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(reader)))
        for _ in range(2):
            connection.execute(views.script(loaded, "postgresql", reader=reader).encode())
        assert made(connection, target) == ALL
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(reader)))
        for name in ALL:
            connection.execute(f"SELECT count(*) FROM {target}.{name}".encode())


def test_install_lets_another_reader_read(erp: Erp) -> None:
    tables, target = erp.schemas()
    reader = f"Reader {tables}"
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(reader)))
        view_live.install(erp.tenant(tables, target), reader)
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(reader)))
        connection.execute(f"SELECT count(*) FROM {target}.hat_ba1_beneficiario".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT count(*) FROM {tables}.ba1010".encode())


def test_a_view_of_another_shape_is_made_anew_and_keeps_the_grants_on_it(erp: Erp) -> None:
    tables, target = erp.schemas()
    other = f"other_{tables}"
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(f"CREATE SCHEMA {target}; CREATE ROLE {other}".encode())
        connection.execute(f"CREATE VIEW {target}.hat_bts_vida AS SELECT 1 AS recno, 'x' AS nome".encode())
        connection.execute(f"GRANT SELECT ON {target}.hat_bts_vida TO {other} WITH GRANT OPTION".encode())
        connection.execute(f"GRANT SELECT ON {target}.hat_bts_vida TO PUBLIC".encode())
        assert view_live.install(erp.tenant(tables, target)).remade == ("HAT_BTS_Vida",)
        granted = connection.execute(
            "SELECT grantee::text, is_grantable FROM information_schema.role_table_grants"
            " WHERE table_schema = %s AND table_name = 'hat_bts_vida' AND privilege_type = 'SELECT'"
            " AND grantee <> grantor ORDER BY 1",
            (target,),
        ).fetchall()
        assert set(granted) == {("PUBLIC", "NO"), (other, "YES")}


def test_grants_on_single_columns_are_kept_as_far_as_the_columns_are_there(erp: Erp) -> None:
    """Only grants on the whole view came back."""
    tables, target = erp.schemas()
    other = f"Other {tables}"
    with erp.connect() as connection:
        pls.create(connection, tables)
        role = sql.Identifier(other)
        connection.execute(sql.SQL("CREATE SCHEMA {}; CREATE ROLE {}").format(sql.Identifier(target), role))
        connection.execute(f"CREATE VIEW {target}.hat_bts_vida AS SELECT 1 AS recno, 'x' AS nome, 'y' AS gone".encode())
        grant = f"GRANT SELECT (nome, gone), UPDATE (recno) ON {target}.hat_bts_vida TO {{}} WITH GRANT OPTION"
        connection.execute(sql.SQL(grant).format(role))
        connection.execute(f"GRANT SELECT (nome) ON {target}.hat_bts_vida TO PUBLIC".encode())
        assert view_live.install(erp.tenant(tables, target)).remade == ("HAT_BTS_Vida",)
        granted = connection.execute(
            "SELECT grantee::text, column_name::text, privilege_type::text, is_grantable::text"
            " FROM information_schema.role_column_grants WHERE table_schema = %s AND table_name = 'hat_bts_vida'"
            " AND grantee <> grantor ORDER BY 1, 2",
            (target,),
        ).fetchall()
        assert granted == [
            (other, "nome", "SELECT", "YES"),
            (other, "recno", "UPDATE", "YES"),
            ("PUBLIC", "nome", "SELECT", "NO"),
        ]


def test_a_view_on_which_others_rest_is_not_dropped(erp: Erp) -> None:
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(
            f"CREATE SCHEMA {target}; CREATE VIEW {target}.hat_bts_vida AS SELECT 1 AS recno;"
            f"CREATE VIEW {target}.report AS SELECT * FROM {target}.hat_bts_vida".encode()
        )
        with pytest.raises(SourceError) as raised:
            view_live.install(erp.tenant(tables, target))
        assert f"{target}.report" in raised.value.cause
        assert raised.value.table == "persons"
        assert made(connection, target) == {"hat_bts_vida", "report"}


@pytest.mark.parametrize(
    ("without", "said", "table"),
    [
        ({"BA3"}, "HAT_BA1_Beneficiario needs table {}.ba3010", "families"),
        ({"BTS_NOMSOC"}, "HAT_BTS_Vida needs column BTS_NOMSOC", "persons"),
        ({"BTS", "BFG_SEXO"}, "HAT_BFG_ProcedBeneficiario needs column BFG_SEXO", "persons"),
    ],
)
def test_what_the_erp_lacks_is_named_and_nothing_is_made(erp: Erp, without: set[str], said: str, table: str) -> None:
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables, without=without)
        with pytest.raises(SourceError) as raised:
            view_live.install(erp.tenant(tables, target))
        assert raised.value.exit_code == 4
        assert said.format(tables) in raised.value.cause
        assert (raised.value.tenant, raised.value.table) == ("acme", table)
        assert made(connection, target) == set()


def test_a_table_that_has_the_name_of_a_view_is_left_alone(erp: Erp) -> None:
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(f"CREATE SCHEMA {target}; CREATE TABLE {target}.hat_brv_grupoproduto (x int)".encode())
        with pytest.raises(SourceError, match="HAT_BRV_GrupoProduto"):
            view_live.install(erp.tenant(tables, target))
        assert made(connection, target) == set()


def test_a_reader_who_does_not_exist_is_refused(erp: Erp) -> None:
    tables, target = erp.schemas()
    with erp.connect() as connection:
        pls.create(connection, tables)
        with pytest.raises(SourceError, match="--reader"):
            view_live.install(erp.tenant(tables, target), "nobody_of_that_name")
        assert made(connection, target) == set()


def test_a_reader_may_have_the_name_of_any_word_of_the_language(erp: Erp) -> None:
    """`--reader user` ended in a syntax error."""
    with erp.connect() as connection:
        words = connection.execute("SELECT word FROM pg_get_keywords() WHERE catcode = 'R'").fetchall()
        users = [word for (word,) in words if word not in views.NO_USERS]
        assert len(users) > 50
        connection.execute("CREATE TABLE IF NOT EXISTS public.granted (n int)")
        for word in users:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(word)))
                user = views.reading_user(tenant(), "postgresql", word)
                connection.execute(f"GRANT SELECT ON granted TO {views.identifier(user, 'postgresql')}".encode())


def test_a_login_that_may_not_make_views_is_sent_to_the_dba(erp: Erp, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, target = erp.schemas()
    login = f"login_{tables}"
    with erp.connect() as connection:
        pls.create(connection, tables)
        connection.execute(f"CREATE ROLE {login} LOGIN".encode())
    monkeypatch.setenv("LIMITED_URL", psycopg.conninfo.make_conninfo(erp.url, user=login))
    with pytest.raises(SourceError, match="views render acme"):
        view_live.install(tenant(url="env:LIMITED_URL", schema=tables, views_schema=target))


def test_views_are_not_installed_on_oracle() -> None:
    with pytest.raises(ConfigurationError, match="views render acme"):
        view_live.install(tenant(dialect="oracle"))


def test_the_check_finds_views_that_are_missing_or_of_another_shape(erp: Erp) -> None:
    tables, target = erp.schemas()
    loaded = erp.tenant(tables, target)
    with erp.connect() as connection:
        pls.create(connection, tables, widths={"BA1_MATRIC": 8, "BTS_NOMUSR": 99})
        view_live.install(loaded)
        connection.execute(
            f"DROP VIEW {target}.hat_brv_grupoproduto; ALTER VIEW {target}.hat_bih_tipousuario RENAME descricao TO x;"
            f"DROP VIEW {target}.hat_bg7_grupocobertura; CREATE VIEW {target}.hat_bg7_grupocobertura AS"
            f" SELECT r_e_c_n_o_ AS recno, 0 AS excluido, s_t_a_m_p_ AS carimbo, 1 AS operadora,"
            f" bg7_codgru AS grupocobertura, bg7_descri AS descricao FROM {tables}.bg7010".encode()
        )
    result = view_live.check(loaded, "postgresql")
    assert result.failed
    found = {(finding.view, finding.column, finding.level) for finding in result.findings}
    assert found == {
        ("HAT_BRV_GrupoProduto", None, "error"),
        ("HAT_BIH_TipoUsuario", "Descricao", "error"),
        ("HAT_BIH_TipoUsuario", "x", "info"),
        ("HAT_BG7_GrupoCobertura", "Operadora", "error"),
        ("HAT_BA1_Beneficiario", "CodigoBeneficiario", "warning"),
        ("HAT_BA1_Beneficiario", "CodigoSemDigito", "warning"),
        ("HAT_BA1_Beneficiario", "MatriculaFamilia", "warning"),
        ("HAT_BTS_Vida", "Nome", "warning"),
    }


def test_the_check_says_that_it_did_not_see_the_live_views() -> None:
    result = view_live.check(tenant(schema="protheus"), "postgresql")
    assert not result.live
    assert not result.failed
    (finding,) = result.findings
    assert finding.level == "info"
    assert "env:NO_SUCH_ERP_URL" in finding.message
    assert view_live.check(tenant(schema="protheus"), "oracle", offline=True).findings == []


@pytest.mark.parametrize("use", [view_live.install, lambda loaded: view_live.check(loaded, "postgresql")])
def test_an_erp_that_cannot_be_reached_is_a_source_error(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOST_URL", "host=/nowhere user=u password=c4n4ry")
    loaded = tenant(url="env:LOST_URL")
    with pytest.raises(SourceError) as raised:
        use(loaded)
    assert "c4n4ry" not in str(raised.value)
    assert "was not asked" in view_live.known(loaded, "postgresql", "auto").note


def test_the_fields_of_every_entity_are_in_the_tables_it_reads() -> None:
    for entity in BY_TABLE.values():
        assert {name[:3] for name in views.fields_read(entity)} == set(entity.reads)


def test_views_of_another_company_are_not_made_over_and_not_taken_for_ours(erp: Erp) -> None:
    """Two tenants' files named one schema for the views: the second made the first one's its own."""
    tables, target = erp.schemas()
    first, second = erp.tenant(tables, target), erp.tenant(tables, target, company="02")
    with erp.connect() as connection:
        pls.create(connection, tables)
        for alias in pls.tables():
            connection.execute(f"CREATE TABLE {tables}.{alias.lower()}020 (LIKE {tables}.{alias.lower()}010)".encode())
        view_live.install(first)
        definitions = "SELECT viewname, definition FROM pg_views WHERE schemaname = %s ORDER BY 1"
        before = connection.execute(definitions, (target,)).fetchall()
        with pytest.raises(DecisionNeeded) as refused:
            view_live.install(second)
        assert "views_schema" in refused.value.next_step
        assert connection.execute(definitions, (target,)).fetchall() == before
    assert {finding.view for finding in view_live.check(second, "postgresql").findings} == {e.view for e in ENTITIES}
    assert view_live.check(first, "postgresql").findings == []

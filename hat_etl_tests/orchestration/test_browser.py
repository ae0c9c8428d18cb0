"""What a person sees who opens the address of ``make ui`` in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from hat_etl.tenants import store
from hat_etl_tests.orchestration.browser import MISSING, browsing, is_there
from hat_etl_tests.orchestration.conftest import new_demo
from hat_etl_tests.orchestration.story import play
from hat_etl_tests.orchestration.webserver import opened


@pytest.mark.skipif(not is_there(), reason=MISSING)
def test_a_person_loads_a_tenant_and_sees_what_the_schedule_did_when_the_erp_got_dirty(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_demo() as demo:
        monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
        with opened() as ui:
            ui.wait_for(r"Added partition keys to dynamic partitions definition 'tenant': \['demo'\]")
            with browsing(ui.address) as browser:
                play(browser, demo, lambda _: None)

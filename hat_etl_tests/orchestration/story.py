"""A day of the implementation team in the browser: the story that a test holds and of which the pictures are taken.

``python -m hat_etl_tests.orchestration.story docs/pictures`` takes the pictures.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hat_etl.tenants import store
from hat_etl_tests.orchestration.browser import MISSING, Browser, browsing, is_there, launch
from hat_etl_tests.orchestration.conftest import ROOT, Demo, new_demo
from hat_etl_tests.orchestration.webserver import opened

DIRT = (
    "UPDATE bts010 SET bts_nomusr = ' ', s_t_a_m_p_ = clock_timestamp() WHERE r_e_c_n_o_ % 12 = 0 AND d_e_l_e_t_ = ' '"
)
"""Of every twelfth person the name is gone: more than the tenant's file allows, less than stops a sync."""

Picture = Callable[[str], None]


def play(browser: Browser, demo: Demo, picture: Picture) -> None:
    """Launch, watch, look at the rows; then the ERP gets dirty, and the schedule does what is left."""
    run = launch(browser, "initial_load", "demo")
    browser.see("Success", "load_tenant")
    picture("run")

    browser.open("/assets/hat/beneficiaries?view=partitions&partition=demo")
    browser.see("dagster/row_count", f"\n{demo.count('beneficiaries')}\n", "rejected", run[:8])
    picture("table")

    browser.open("/assets/hat/tenant?view=checks&checkDetail=rejects")
    browser.see("rejects\nSucceeded")
    demo.change_erp(DIRT)
    file = demo.tenants / "demo.toml"
    file.write_text(
        f'{file.read_text(encoding="utf-8")}\n[schedule]\nincremental = "0 3 1 1 *"\n', encoding="utf-8"
    )  # fmt: skip
    # From here on nobody does anything: the moment of this year was missed, so the sensor launches the sync.
    browser.see("rejects\nFailed", "too many", "hat-etl rejects demo --xlsx")
    picture("check")

    browser.open("/runs")
    browser.see("incremental_sync", "due_tenants", "initial_load")
    picture("runs")


def main() -> None:
    if not is_there():
        sys.exit(f"No pictures were taken: {MISSING}")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dg") as home, new_demo() as demo:
        shutil.copy(ROOT / "dagster.yaml", home)
        os.environ |= {"DAGSTER_HOME": home, store.FOLDER_VARIABLE: str(demo.tenants)}
        with opened() as ui:
            ui.wait_for(r"Added partition keys to dynamic partitions definition 'tenant': \['demo'\]")
            with browsing(ui.address) as browser:
                browser.open("/locations/hat_etl/jobs/initial_load/playground")
                browser.see("outside_windows")
                browser.picture(folder / "launchpad.png")
                play(browser, demo, lambda name: browser.picture(folder / f"{name}.png"))


if __name__ == "__main__":
    main()

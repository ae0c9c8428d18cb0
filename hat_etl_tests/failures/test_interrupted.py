"""An interruption stays one, whatever else goes wrong on the way out."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from hat_etl.parallel import result_of
from hat_etl.sandbox.server import PLS, READER
from hat_etl.source.adbc import Session
from hat_etl_tests.test_parallel import interrupt, main_waits_in

from .proxy import Proxy


@pytest.mark.usefixtures("heard")
def test_ctrl_c_stays_ctrl_c_where_the_erp_takes_no_connection_for_the_cancelling(
    proxies: tuple[Proxy, Proxy],
) -> None:
    """The driver's error took its place, and a run of Dagster that was ended was told as one whose ERP had failed."""
    erp, _ = proxies

    def end() -> None:
        erp._listener.shutdown(socket.SHUT_RDWR)  # cancelling takes a connection of its own
        interrupt(result_of)
        while not main_waits_in(ThreadPoolExecutor.shutdown):
            pass
        erp.cut()

    with closing(Session(erp.url(PLS, READER))) as session:
        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(KeyboardInterrupt):
            session.row("SELECT 1 FROM pg_sleep(60)")
        ending.join()

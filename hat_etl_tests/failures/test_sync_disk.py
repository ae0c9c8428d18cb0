"""The disk of HAT is full while a sync takes in or merges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .ground import Ground, Server
from .syncing import MOVED, Shown, Untouched, assert_told, last_run, synced

MAKE_GROUND = Callable[..., Ground]


def fill(folder: Path) -> Path:
    """Leave no room in a file system; gives the file that takes it."""
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.parametrize("when", ["taking in", "merging"])
def test_the_disk_of_hat_is_full(
    when: str, small_disk: Callable[[str], None], moved: Shown, make_ground: MAKE_GROUND, server: Server
) -> None:
    ground = make_ground(pls=MOVED)
    small_disk("64m")
    with server.admin() as admin:
        admin.execute("GRANT CREATE ON TABLESPACE small TO hat_loader")
        if when == "taking in":
            admin.execute(f"ALTER DATABASE {ground.hat} SET temp_tablespaces = small")
    if when == "merging":
        with ground.in_hat() as connection:
            # Empty as it is, the first before-image needs room; the tables of HAT have a little in their last pages.
            connection.execute("ALTER TABLE hat_etl.changes SET TABLESPACE small")
    untouched = Untouched(ground)
    filler = fill(server.sandbox.folder / "small")
    try:
        result = ground.run("sync", ground.name)
    finally:
        filler.unlink()
    assert result.exit_code == 5, result.err
    assert_told(
        result.err, "demo", "disk of the tenant database is full", "Free space", "go on with: hat-etl sync demo"
    )
    assert last_run(ground)[1:3] == ("sync", "failed")
    untouched.check()
    synced(ground)
    assert Shown.by(ground) == moved
    ground.assert_clean()

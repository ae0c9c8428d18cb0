"""Lots into a folder: of this disk, of another file system, of an object store."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from hat_etl.billing import store as rows
from hat_etl.billing.doctor import examine
from hat_etl.billing.objects import ObjectStore
from hat_etl.billing.operators.base import Absent, Letter, NoAnswer, NotSent, Taken
from hat_etl.billing.operators.folder import FolderOperator
from hat_etl.billing.states import State
from hat_etl.billing.store import store_of
from hat_etl.sandbox.hat.lots import Recipe, make

from .conftest import PROVIDER, REGISTRY, World
from .s3 import S3


def deliver_to_s3(world: World, s3: S3) -> None:
    more = f'[billing.folder]\npath = "s3://lots/in"\n{s3.options("billing.folder.options")}'
    world.write_tenant(deliver="folder", more=more)
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('ask = "pls"', ""))


def letter(content: bytes) -> Letter:
    digest = hashlib.sha256(content).hexdigest()
    return Letter(1, "9", "000123", "7", None, None, None, None, None, content=content, sha256=digest)


def test_an_object_store_gets_each_lot_once(world: World, s3: S3) -> None:
    deliver_to_s3(world, s3)
    number = world.add()
    world.loop()
    content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))
    assert s3.objects() == {f"lots/in/{PROVIDER}_{number}_{number}.xml": content}
    assert world.states() == {number: "protocolled"}
    puts = s3.calls.count("PUT")
    world.loop()
    assert s3.calls.count("PUT") == puts


def test_a_lot_whose_answer_was_lost_is_found_in_the_object_store(world: World, s3: S3) -> None:
    deliver_to_s3(world, s3)
    number = world.add()
    world.pull()
    s3.muffled = True
    assert world.send().counts == {"unknown": 1}
    s3.muffled = False
    puts = s3.calls.count("PUT")
    assert world.send().counts == {"protocolled": 1}
    assert "found at the operator" in world.events(number)
    assert s3.calls.count("PUT") == puts, "it is there, and is not written again"


@pytest.mark.parametrize("taken", [True, False])
def test_a_file_that_the_operator_may_have_taken_is_not_written_again_while_the_erp_does_not_know_it(
    taken: bool, world: World
) -> None:
    """Its account comes later: until then the ERP said that it has no such lot, and the operator got it twice."""
    out = world.folder / "out"
    world.write_tenant(deliver="folder", more=f'[billing.folder]\npath = "{out}"')
    number = world.add()
    world.pull()
    with store_of(world.tenant) as store, store.stage("send"), store.transaction() as connection:
        (lot,) = store.lots("true")
        rows.move(connection, lot.lot, State.QUEUED, "queued")
        rows.move(connection, lot.lot, State.SENT, "sent", {"sha256": lot.sha256})
        content = store.content(connection, lot)
    # Killed here, with the file in the folder.
    out.mkdir()
    if not taken:
        (out / f"{PROVIDER}_{number}_{number}.xml").write_bytes(content)
    world.send()
    assert world.states() == {number: "unknown" if taken else "protocolled"}
    assert len(list(out.iterdir())) == (0 if taken else 1)


def test_an_object_store_that_is_down_leaves_no_lot_in_doubt(world: World, s3: S3) -> None:
    deliver_to_s3(world, s3)
    number = world.add()
    world.pull()
    text = (world.folder / "acme.toml").read_text()
    (world.folder / "acme.toml").write_text(text.replace(s3.url, "http://127.0.0.1:1"))
    assert world.send().counts == {"not sent": 1}
    (world.folder / "acme.toml").write_text(text.replace("s3://lots/in", "s3://other/in"))
    assert world.send().counts == {"not sent": 1}
    (world.folder / "acme.toml").write_text(text)
    assert world.send().counts == {"protocolled": 1}
    assert world.states() == {number: "protocolled"}


def test_an_earlier_file_of_a_lot_is_not_taken_for_its_new_one(tmp_path: Any) -> None:
    operator = FolderOperator(ObjectStore(f"file://{tmp_path}", {}, "acme"))
    assert isinstance(operator.find(letter(b"old")), NoAnswer)
    assert operator.deliver(letter(b"old")) == Taken(None)
    assert operator.find(letter(b"old")) == Taken(None)
    assert operator.find(letter(b"new")) == Absent()
    assert operator.deliver(letter(b"new")) == Taken(None)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"new"]


def test_a_folder_that_cannot_be_written_takes_nothing_and_says_why(tmp_path: Any) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    operator = FolderOperator(ObjectStore(f"file://{tmp_path}/out", {}, "acme"))
    assert operator.deliver(letter(b"x")) == NotSent("Not a directory")


class Elsewhere(LocalFileSystem):  # type: ignore[misc]
    """A file system of which nobody says that a file appears in it whole."""

    protocol = "elsewhere"
    moved: ClassVar[list[tuple[str, bytes]]] = []

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.moved.append((path1, self.cat_file(path1)))
        super().mv(path1, path2, **options)


def test_elsewhere_a_file_takes_its_name_when_it_is_whole(tmp_path: Any) -> None:
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    store = ObjectStore(f"elsewhere://{tmp_path}", {}, "acme")
    store.write("a.xml", b"whole")
    assert Elsewhere.moved == [(f"{tmp_path}/a.xml.part", b"whole")]
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.xml", b"whole")]


def test_the_doctor_looks_for_the_bucket_and_writes_nothing_there(world: World, s3: S3) -> None:
    deliver_to_s3(world, s3)
    puts = s3.calls.count("PUT")
    assert {check.subject: check.state for check in examine(world.tenant)}["operator: service"] == "ok"
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace("s3://lots/in", "s3://other/in"))
    found = {check.subject: check for check in examine(world.tenant)}["operator: service"]
    assert (found.state, found.exit_code) == ("failed", 10)
    assert s3.calls.count("PUT") == puts

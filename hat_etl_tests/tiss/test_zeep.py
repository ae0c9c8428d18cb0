"""zeep, a SOAP client that is not ours, and the operator of the sandbox understand each other; zeep knows our messages.

zeep gets the contract as WSDL: what the sandbox serves, and ANS's own where a folder with it is at hand (named by
HAT_ETL_TISS_WSDL, or beside the checkout; one folder per version, with WSDL and schemas).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree

from hat_etl.sandbox.lots import Guide, sadt_lot
from hat_etl.sandbox.operator.server import OperatorServer
from hat_etl.tiss import messages
from hat_etl.tiss.document import NS
from hat_etl.tiss.messages import Login, Operation, Provider, Request, Sender
from hat_etl.tiss.schemas import Schemas, file_suffix, packaged_versions

OFFICIAL = Path(os.environ.get("HAT_ETL_TISS_WSDL") or Path(__file__).parents[2].parent / "shared" / "tiss" / "schemas")
OFFICIAL_VERSIONS = sorted(
    path.parent.name for path in OFFICIAL.glob("[4-9].*/tissLoteGuias*.wsdl")
) if OFFICIAL.is_dir() else []  # fmt: skip
PROVIDER = "PREST0001"
MOMENT = datetime(2026, 10, 21, 7, 8, 9)


class Contract:
    """The three operations of one version, as zeep reads them from WSDL."""

    def __init__(self, server: OperatorServer, version: str, official: bool) -> None:
        self.version = version
        self.clients = {
            operation: zeep.Client(
                str(OFFICIAL / version / f"{operation}{file_suffix(version)}.wsdl")
                if official
                else f"{server.address(operation, version)}?wsdl",
                # W3C's schema of signatures has a DTD.
                settings=zeep.Settings(forbid_entities=False),
            )
            for operation in Operation
        }
        self.addresses = {operation: server.address(operation, version) for operation in Operation}

    def values(self, request: Request) -> Any:
        """A request of ours as zeep understands it."""
        return self.read(request.operation, request.message)

    def read(self, operation: Operation, message: etree._Element) -> Any:
        element = self.clients[operation].get_element(etree.QName(message).text)
        return element.parse(message, self.clients[operation].wsdl.types)

    def call(self, request: Request) -> Any:
        """Send what zeep makes of a request of ours, and get what it makes of the answer."""
        client = self.clients[request.operation]
        (binding,) = client.wsdl.bindings
        service = client.create_service(binding, self.addresses[request.operation])
        values = self.values(request)
        (operation,) = client.wsdl.bindings[binding].all()
        return getattr(service, operation)(**{name: values[name] for name in values})


@pytest.fixture(scope="module")
def server() -> Iterator[OperatorServer]:
    with OperatorServer(schemas=Schemas(OFFICIAL if OFFICIAL.is_dir() else None)) as made:
        yield made


KNOWN = [(version, False) for version in packaged_versions()] + [(version, True) for version in OFFICIAL_VERSIONS]


@pytest.fixture(
    scope="module", params=KNOWN, ids=lambda known: f"{known[0]} {'of ANS' if known[1] else 'of the sandbox'}"
)
def contract(request: pytest.FixtureRequest, server: OperatorServer) -> Contract:
    version, official = request.param
    return Contract(server, version, official)


def lot(contract: Contract, number: str) -> Request:
    file = sadt_lot(number, [Guide("S1"), Guide("S2")], version=contract.version)
    return messages.lot(file, login=Login("usuario", "Senha-123"))


def sender(contract: Contract) -> Sender:
    return Sender(Provider("codigoPrestadorNaOperadora", PROVIDER), "412345", contract.version)


def number(contract: Contract, of: str) -> str:
    """A lot number that nothing else of this module uses."""
    return f"{contract.version.replace('.', '')}{of}"


def test_zeep_sends_a_lot_and_reads_its_receipt(contract: Contract, server: OperatorServer) -> None:
    receipt = contract.call(lot(contract, number(contract, "1"))).recebimentoLote.protocoloRecebimento
    assert receipt.numeroLote == number(contract, "1")
    assert receipt.detalheProtocolo.numeroProtocolo == server.lots()[-1].protocol
    assert [guide.numeroGuiaPrestador for guide in receipt.detalheProtocolo.dadosGuiasProtocolo.dadosGuias] == [
        "S1",
        "S2",
    ]


def test_zeep_follows_a_lot_to_its_statement(contract: Contract, server: OperatorServer) -> None:
    protocol = contract.call(lot(contract, number(contract, "2"))).recebimentoLote.protocoloRecebimento
    asked = protocol.detalheProtocolo.numeroProtocolo
    state = contract.call(messages.status(sender(contract), asked, "1", MOMENT)).situacaoProtocolo.situacaoDoProtocolo
    assert state.lote.detalheLote.statusProtocolo == "1"
    question = messages.statement(sender(contract), [asked], "1", MOMENT, date(2026, 10, 21))
    assert contract.call(question).demonstrativoRetorno.situacaoDemonstrativoRetorno.situacaoDemonstrativo == "1"
    server.ledger.advance()
    server.ledger.advance()
    (analysis,) = contract.call(question).demonstrativoRetorno.demonstrativoAnaliseConta
    (told,) = analysis.dadosConta.dadosProtocolo
    assert (told.numeroProtocolo, len(told.relacaoGuias)) == (asked, 2)


def test_zeep_reads_rejections_and_faults(contract: Contract) -> None:
    request = lot(contract, number(contract, "3"))
    contract.call(request)
    assert contract.call(request).recebimentoLote.mensagemErro.codigoGlosa == "5053"
    wrong = messages.lot(sadt_lot("9", [Guide("S1")], version=contract.version, registry="999999"))
    with pytest.raises(zeep.exceptions.Fault) as caught:
        contract.call(wrong)
    assert caught.value.detail.findtext(f".//{{{NS}}}tissFault") == "DestinatarioInvalido"


def test_zeep_understands_our_messages_whole(contract: Contract) -> None:
    request = lot(contract, number(contract, "4"))
    values = contract.values(request)
    written = etree.Element("written")
    contract.clients[Operation.LOT].get_element(f"{{{NS}}}loteGuiasWS").render(written, values)
    assert [node.text for node in written[0].iter() if len(node) == 0] == [
        node.text for node in request.message.iter() if len(node) == 0
    ]


def test_the_contract_of_ans_is_understood_where_it_is_at_hand() -> None:
    if not OFFICIAL_VERSIONS:
        pytest.skip("no folder with the WSDLs of ANS: name one by HAT_ETL_TISS_WSDL")
    assert {known[0] for known in KNOWN if known[1]} == set(OFFICIAL_VERSIONS)

"""A description of the sandbox's operator for clients that want one: WSDL 1.1, one operation in one version."""

from __future__ import annotations

REPLIES = {
    "tissLoteGuias": "protocoloRecebimentoWS",
    "tissSolicitacaoStatusProtocolo": "situacaoProtocoloWS",
    "tissSolicitacaoDemonstrativoRetorno": "demonstrativoRetornoWS",
}


def wsdl(operation: str, request: str, version: str, suffix: str, address: str) -> str:
    """The description. The schemas lie beside it. ``suffix``: e.g. ``V4_03_00``."""
    name = f"http://www.ans.gov.br/tiss/ws/tipos/{operation.lower()}/v{version.replace('.', '')}"
    parts = {"Request": request, "Reply": REPLIES[operation], "Fault": "tissFaultWS"}
    messages = "".join(
        f'<message name="{part}"><part name="message" element="ans:{element}"/></message>'
        for part, element in parts.items()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:ans="http://www.ans.gov.br/padroes/tiss/schemas" xmlns:own="{name}" targetNamespace="{name}">
<types><schema xmlns="http://www.w3.org/2001/XMLSchema">
<import namespace="http://www.ans.gov.br/padroes/tiss/schemas" schemaLocation="tissWebServices{suffix}.xsd"/>
</schema></types>
{messages}
<portType name="PortType"><operation name="{operation}_Operation">
<input message="own:Request"/><output message="own:Reply"/><fault name="TissFault" message="own:Fault"/>
</operation></portType>
<binding name="Binding" type="own:PortType">
<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
<operation name="{operation}_Operation"><soap:operation soapAction=""/>
<input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>
<fault name="TissFault"><soap:fault name="TissFault" use="literal"/></fault>
</operation></binding>
<service name="{operation}">
<port name="Port" binding="own:Binding"><soap:address location="{address}"/></port>
</service>
</definitions>
"""

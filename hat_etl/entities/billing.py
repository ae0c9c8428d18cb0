"""What billing reads of the ERP where the operator's PLS is asked rather than its TISS service: views without a table.

The account of a lot itself is read by the view of ``batch_authorizations``.
"""

from hat_etl.entities.model import Entity, Kind, date, number, text

received_files = Entity(
    table="received_files",
    area="billing",
    view="HAT_BXX_ArquivoRecebido",
    reads=("BXX",),
    key=("health_insurer_id", "health_provider_code", "file_name"),
    meaning="TISS files that PLS has received, and whether it took them.",
    grain="a single file of a provider at an insurer per row",
    columns=(
        text("health_insurer_id", 4, "Operadora", "BXX_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("health_provider_code", 6, "CodigoPrestador", "BXX_CODRDA", "Provider that sent the file.", required=True),
        text("file_name", 100, "Arquivo", "BXX_ARQIN", "Name of the file.", required=True, assumed=True),
        text("status", 1, "Situacao", "BXX_STATUS", "0 being processed, 1 accepted, 2 rejected, 3 imported, 4 being submitted.", assumed=True),
        text("protocol_number", 8, "Protocolo", "BXX_CODPEG", "Protocol (PEG) that was made of it."),
        date("received_date", "DataMovimento", "BXX_DATMOV", "Day on which it came."),
    ),
)

_BCT = " via BDX_CODOPE=BCT_CODOPE and BDX_CODGLO=BCT_CODGLO"

denials = Entity(
    table="denials",
    area="billing",
    view="HAT_BDX_Glosa",
    reads=("BDX", "BCT"),
    key=("health_insurer_id", "typing_location", "protocol_number", "guide_number", "sequence", "procedure_code", "denial_code"),
    meaning="What was denied of the guides of a protocol (glosas), and why.",
    grain="a single denial of an item of a guide per row",
    columns=(
        text("health_insurer_id", 4, "Operadora", "BDX_CODOPE", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("typing_location", 4, "LocalDigitacao", "BDX_CODLDP", "Location where the guides are typed.", required=True),
        text("protocol_number", 8, "Protocolo", "BDX_CODPEG", "Number of the protocol (PEG).", required=True),
        text("guide_number", 8, "NumeroGuia", "BDX_NUMERO", "Number of the guide in the protocol.", required=True),
        text("sequence", 3, "Sequencia", "BDX_SEQUEN else '-'", "Item of the guide; the value - stands for the guide itself.", required=True),
        text("procedure_code", 16, "CodigoProcedimento", "BDX_CODPRO else '-'", "Procedure; the value - stands for none.", required=True),
        text("denial_code", 4, "CodigoGlosa", "BDX_CODGLO", "The operator's own code of the reason.", required=True, assumed=True),
        text("denial_description", 250, "DescricaoGlosa", "BDX_DESGLO", "The reason in words.", assumed=True),
        number("denied_value", Kind.AMOUNT, "ValorGlosado", "BDX_VLRGLO", "Value denied.", scale=2, rule="non_negative"),
        text("tiss_code", 4, "GlosaTISS", f"BCT_GLTISS{_BCT}", "Code of the reason in table 38 of TISS.", assumed=True),
    ),
)

VIEWS: tuple[Entity, ...] = (received_files, denials)

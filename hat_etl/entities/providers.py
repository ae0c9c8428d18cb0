"""Providers: health providers, where and what they attend, their staff, movements sent back to HAT."""

from hat_etl.entities.model import Entity, Kind, date, flag, number, parent, text

specialties = Entity(
    table="specialties",
    area="providers",
    view="HAT_BAQ_Especialidade",
    reads=("BAQ",),
    key=("health_insurer_id", "specialty_code"),
    parents=(
        parent("health_insurers", "health_insurer_id"),
    ),
    meaning="Specialties of medicine known to the insurer.",
    grain="a single specialty of an insurer per row",
    columns=(
        text("health_insurer_id", 4, "Operadora", "BAQ_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("specialty_code", 3, "CodigoEspecialidade", "BAQ_CODESP", "Code of the specialty.", required=True),
        text("description", 60, "Descricao", "BAQ_DESCRI", "Descriptive text.", assumed=True),
        text("cbos_code", 6, "CodigoCBOS", "BAQ_CBOS", "CBO occupation code that matches the specialty, HAT property cbos.code.", rule="digits", assumed=True),
    ),
)

professionals = Entity(
    table="professionals",
    area="providers",
    view="HAT_BB0_Profissional",
    reads=("BB0",),
    key=("id_on_health_insurer",),
    hat_api="professionals",
    meaning="Health professionals who request, execute or belong to the clinical staff.",
    grain="a single professional code per row",
    columns=(
        text("id_on_health_insurer", 6, "CodigoProfissional", "BB0_CODIGO", "Code the insurer gives to the professional.", required=True),
        text("professional_identifier", 14, "CPF", "BB0_CGC", "Professional's CPF (the field is wide enough for a CNPJ).", rule="cpf_or_cnpj"),
        text("professional_council", 10, "Conselho", "BB0_CODSIG", "Council the professional belongs to, such as CRM, CRO or COREN.", rule="upper", assumed=True),
        text("name", 40, "Nome", "BB0_NOME", "Full name."),
        text("professional_council_number", 15, "NumeroConselho", "BB0_NUMCR", "Registration number at the council."),
        text("state_abbreviation", 2, "UFConselho", "BB0_ESTADO", "State of the professional council; named BB0_UF in the HAT schema.", rule="upper|uf", assumed=True),
        text("health_insurer_id", 4, "Operadora", "BB0_CODOPE", "Insurer where the professional was registered.", rule="digits", assumed=True),
        date("block_date", "DataBloqueio", "BB0_DATBLO", "Date from which the professional is blocked."),
    ),
)

health_providers = Entity(
    table="health_providers",
    area="providers",
    view="HAT_BAU_Prestador",
    reads=("BAU",),
    key=("health_provider_code",),
    parents=(
        parent("professionals", "professional_code", "id_on_health_insurer"),
    ),
    hat_api="healthProviders",
    meaning="Providers of health services (RDA), whether people or companies, that attend beneficiaries.",
    grain="a single provider code per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BAU_CODIGO", "Code the insurer gives to the provider.", required=True),
        text("health_provider_document", 14, "CPFCNPJ", "BAU_CPFCGC", "Taxpayer number: CPF or CNPJ.", rule="cpf_or_cnpj", assumed=True),
        text("name", 60, "Nome", "BAU_NOME", "Name of the company or of the person.", required=True),
        text("reduced_name", 60, "NomeReduzido", "BAU_NREDUZ", "Trading name (nome fantasia)."),
        text("health_provider_type", 3, "TipoPessoa", "BAU_TIPPE", "Kind of taxpayer: F for person, J for company.", rule="in:F,J!", required=True),
        text("health_provider_class", 3, "ClassePrestador", "BAU_TIPPRE", "Provider class: MED, CLI, LAB, OPE, DEN, UNI or one the operator itself defines."),
        text("email", 60, "Email", "BAU_EMAIL", "E-mail address.", rule="email"),
        text("cnes_code", 7, "CNES", "BAU_CNES", "Number in the national register of health establishments (CNES).", rule="cnes"),
        text("professional_code", 6, "CodigoProfissional", "BAU_CODBB0", "Professional the provider stands for when the provider is a person.", assumed=True),
        date("inclusion_date", "DataInclusao", "BAU_DTINCL", "Date on which the provider was registered.", rule="not_future"),
        date("block_date", "DataBloqueio", "BAU_DATBLO", "Date from which the provider is blocked."),
    ),
)

health_provider_status_history = Entity(
    table="health_provider_status_history",
    area="providers",
    view="HAT_BC4_StatusPrestador",
    reads=("BC4", "BAU"),
    key=("health_provider_code", "event_date", "event_type"),
    parents=(
        parent("health_providers", "health_provider_code"),
    ),
    hat_api="healthProviderStatus",
    meaning="When a provider was blocked and unblocked.",
    grain="a single event per row, identified by provider, event date and event type",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BC4_CODCRE", "Code of the health provider.", required=True, assumed=True),
        text("event_type", 1, "TipoEvento", "BC4_TIPO", "Type of event: 0 for block, 1 for unblock.", rule="in:0,1!", required=True, assumed=True),
        date("event_date", "DataEvento", "BC4_DTBLQ", "Date from which the event counts; a future date is possible.", required=True, assumed=True),
        text("health_provider_document", 14, "CPFCNPJ", "BAU_CPFCGC via BC4_CODCRE=BAU_CODIGO", "Provider's CPF or CNPJ, in the form the HAT status call requires.", rule="cpf_or_cnpj", assumed=True),
    ),
)

attendance_locations = Entity(
    table="attendance_locations",
    area="providers",
    view="HAT_BB8_LocalAtendimento",
    reads=("BB8",),
    key=("health_provider_code", "health_insurer_id", "location_code"),
    parents=(
        parent("health_providers", "health_provider_code"),
    ),
    hat_api="attendanceLocations",
    meaning="Locations at which a provider attends.",
    grain="a single location of a provider at an insurer per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BB8_CODIGO", "Code of the health provider.", required=True),
        text("health_insurer_id", 4, "Operadora", "BB8_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("location_code", 3, "CodigoLocal", "BB8_CODLOC", "Code of the location, within its provider.", required=True),
        text("location_type_code", 3, "TipoLocal", "BB8_LOCAL", "Type of the location."),
        text("location_description", 30, "DescricaoLocal", "BB8_DESLOC", "Descriptive text."),
        text("zip_code", 8, "CEP", "BB8_CEP", "Postal code (CEP) of the address.", rule="cep"),
        text("street_type", 3, "TipoLogradouro", "BB8_TIPLOG", "Code for the type of street.", assumed=True),
        text("address", 40, "Endereco", "BB8_END", "Name of the street."),
        text("address_number", 6, "NumeroEndereco", "BB8_NR_END", "Number of the building in the street."),
        text("address_complement", 30, "Complemento", "BB8_COMEND", "Additional address details (complement)."),
        text("city_code", 7, "CodigoMunicipio", "BB8_CODMUN", "Code of the city in the IBGE list.", rule="digits"),
        text("city_name", 30, "Municipio", "BB8_MUN", "Name of the city."),
        text("state_abbreviation", 2, "UF", "BB8_EST", "Brazilian state (UF).", rule="upper|uf"),
        text("district", 30, "Bairro", "BB8_BAIRRO", "District or neighbourhood of the address."),
        text("phone_area_code", 4, "DDD", "BB8_DDD", "Area code (DDD) of the telephone.", rule="digits", assumed=True),
        text("phone", 20, "Telefone", "BB8_TEL", "Telephone number."),
        text("contact_name", 35, "Contato", "BB8_CONTAT", "Name of the contact."),
        text("cnes_code", 7, "CNES", "BB8_CNES", "Number in the national register of health establishments (CNES).", rule="cnes"),
        text("region", 10, "Regiao", "BB8_REGMUN", "Region within the city.", assumed=True),
        date("block_date", "DataBloqueio", "BB8_DATBLO", "Date from which the location is blocked."),
    ),
)

health_provider_specialties = Entity(
    table="health_provider_specialties",
    area="providers",
    view="HAT_BAX_EspecialidadeLocal",
    reads=("BAX",),
    key=("health_provider_code", "health_insurer_id", "location_code", "specialty_code", "subspecialty_code"),
    parents=(
        parent("attendance_locations", "health_provider_code health_insurer_id location_code"),
        parent("specialties", "health_insurer_id specialty_code"),
    ),
    hat_api="healthProviderSpecialties",
    meaning="What specialties a provider attends at each location.",
    grain="a single combination of provider, insurer, location, specialty and subspecialty per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BAX_CODIGO", "Code of the health provider.", required=True),
        text("health_insurer_id", 4, "Operadora", "BAX_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("location_code", 3, "CodigoLocal", "BAX_CODLOC", "Code of the attendance location.", required=True),
        text("specialty_code", 3, "CodigoEspecialidade", "BAX_CODESP", "Code of the medical specialty.", required=True),
        text("subspecialty_code", 3, "CodigoSubespecialidade", "BAX_CODSUB else '-'", "Code of the subspecialty; the value - stands for none.", required=True),
        flag("consider_specialty", "ConsideraEspecialidade", "BAX_CONESP", "True if searches and authorizations take the specialty into account.", rule="map:1=true,0=false"),
        date("block_date", "DataBloqueio", "BAX_DATBLO", "Date from which the specialty is blocked."),
        number("search_order", Kind.SMALLINT, "OrdemPesquisa", "BAX_ORDPES", "Ordering: 1 puts procedures not authorized first, 2 puts authorized procedures first.", rule="in:1,2", from_text=True),
        flag("allows_material", "PermiteMaterial", "BAX_LIMATM", "True if requesting and executing materials is allowed.", rule="map:1=true,0=false"),
    ),
)

clinical_staff = Entity(
    table="clinical_staff",
    area="providers",
    view="HAT_BC1_CorpoClinico",
    reads=("BC1",),
    key=("health_provider_code", "attendance_location", "specialty_code", "id_on_health_insurer"),
    parents=(
        parent("health_providers", "health_provider_code"),
        parent("professionals", "id_on_health_insurer"),
    ),
    hat_api="clinicalStaff",
    meaning="The professionals attending on behalf of a provider.",
    grain="a single combination of provider, location, specialty and professional per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BC1_CODIGO", "Code of the health provider.", required=True),
        text("attendance_location", 3, "CodigoLocal", "BC1_CODLOC", "Code of the attendance location.", required=True),
        text("specialty_code", 3, "CodigoEspecialidade", "BC1_CODESP", "Code of the medical specialty.", required=True),
        text("id_on_health_insurer", 6, "CodigoProfissional", "BC1_CODPRF", "Code of the professional.", required=True, assumed=True),
        text("professional_council", 10, "Conselho", "BC1_SIGLCR", "Professional council, in the form the clinical staff record holds it.", rule="upper", assumed=True),
        text("professional_council_number", 15, "NumeroConselho", "BC1_NUMCR", "Registration number at the council.", assumed=True),
        text("state_abbreviation", 2, "UFConselho", "BC1_ESTCR", "State of the professional council.", rule="upper|uf", assumed=True),
        text("name", 40, "Nome", "BC1_NOMPRF", "Professional's name.", assumed=True),
    ),
)

health_provider_procedure_coverages = Entity(
    table="health_provider_procedure_coverages",
    area="providers",
    view="HAT_BC0_ProcedPrestador",
    reads=("BC0",),
    key=("health_provider_code", "health_insurer_id", "attendance_location_code", "specialty_code", "procedure_table_code", "procedure_code", "level", "movement_type", "initial_term"),
    parents=(
        parent("attendance_locations", "health_provider_code health_insurer_id attendance_location_code", "health_provider_code health_insurer_id location_code"),
        parent("specialties", "health_insurer_id specialty_code"),
        parent("procedures", "procedure_table_code procedure_code", "table_code procedure_code"),
    ),
    hat_api="healthProviders",
    meaning="Which procedures a provider may execute or request at a location; procedureCoverage in HAT.",
    grain="a single combination of provider, insurer, location, specialty, table type, procedure, level, movement type and validity start per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BC0_CODIGO", "Code of the health provider.", required=True),
        text("health_insurer_id", 4, "Operadora", "BC0_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("attendance_location_code", 3, "CodigoLocal", "BC0_CODLOC", "Code of the attendance location.", required=True),
        text("specialty_code", 3, "CodigoEspecialidade", "BC0_CODESP", "Code of the medical specialty.", required=True),
        text("subspecialty_code", 3, "CodigoSubespecialidade", "BC0_CODSUB", "Code of the subspecialty."),
        text("procedure_table_code", 2, "TabelaProcedimento", "BC0_CODPAD", "Type of procedure table.", required=True),
        text("procedure_code", 16, "Procedimento", "BC0_CODOPC", "Code of the procedure.", required=True),
        text("level", 1, "Nivel", "BC0_NIVEL", "Depth (level) in the tree of procedures.", rule="digits", required=True),
        text("movement_type", 1, "TipoMovimento", "BC0_TIPO", "Type of movement: 1 for executes, 2 for requests, 3 for executes and requests.", rule="in:1,2,3!", required=True),
        date("initial_term", "VigenciaInicial", "BC0_VIGDE else 19000101", "Date validity starts; 1900-01-01 if none was informed.", required=True),
        date("final_term", "VigenciaFinal", "BC0_VIGATE", "Date validity ends; left empty as long as it is open.", rule="not_before:initial_term"),
        date("block_date", "DataBloqueio", "BC0_DATBLO", "Date from which this provider is blocked for the procedure."),
        text("block_reason_code", 3, "MotivoBloqueio", "BC0_CODBLO", "Reason for the block."),
        flag("prior_authorization", "AutorizacaoPrevia", "BC0_AUPREV", "True if the procedure needs prior authorization.", rule="map:1=true,0=false,S=true,N=false"),
        text("level_code01", 6, "CodigoNivel01", "BC0_CDNV01", "Procedure code at tree level 1."),
        text("level_code02", 6, "CodigoNivel02", "BC0_CDNV02", "Code found at tree level 2."),
        text("level_code03", 6, "CodigoNivel03", "BC0_CDNV03", "Code found at tree level 3."),
        text("level_code04", 6, "CodigoNivel04", "BC0_CDNV04", "Code found at tree level 4."),
    ),
)

health_provider_products = Entity(
    table="health_provider_products",
    area="providers",
    view="HAT_BBI_ProdutoPrestador",
    reads=("BBI",),
    key=("health_provider_code", "health_insurer_id", "location_code", "specialty_code", "health_product_code", "health_product_version"),
    parents=(
        parent("attendance_locations", "health_provider_code health_insurer_id location_code"),
        parent("specialties", "health_insurer_id specialty_code"),
        parent("products", "health_insurer_id health_product_code health_product_version"),
    ),
    meaning="Which products a provider attends at each location and specialty, that is, the provider network of a product.",
    grain="a single combination of provider, insurer, location, specialty, product and version per row",
    columns=(
        text("health_provider_code", 6, "CodigoPrestador", "BBI_CODIGO", "Code of the health provider.", required=True),
        text("health_insurer_id", 4, "Operadora", "BBI_CODINT", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("location_code", 3, "CodigoLocal", "BBI_CODLOC", "Code of the attendance location.", required=True),
        text("specialty_code", 3, "CodigoEspecialidade", "BBI_CODESP", "Code of the medical specialty.", required=True),
        text("health_product_code", 4, "CodigoProduto", "BBI_CODPRO", "Code of the product.", required=True),
        text("health_product_version", 3, "VersaoProduto", "BBI_VERSAO", "Version of the product.", required=True),
        flag("active", "Ativo", "BBI_ATIVO", "True for as long as the provider attends the product.", rule="map:1=true,0=false,2=false,S=true,N=false", assumed=True),
        date("initial_term", "VigenciaInicial", "BBI_VIGDE", "Date validity starts.", assumed=True),
        date("final_term", "VigenciaFinal", "BBI_VIGATE", "Date validity ends.", rule="not_before:initial_term", assumed=True),
    ),
)

batch_authorizations = Entity(
    table="batch_authorizations",
    area="providers",
    view="HAT_BCI_LoteGuias",
    reads=("BCI",),
    key=("health_insurer_id", "typing_location", "protocol_number"),
    parents=(
        parent("health_providers", "health_provider_id", "health_provider_code"),
    ),
    hat_api="batchesAuthorization/integration",
    meaning="How the guide batches received from HAT stand at the insurer; source of the billing return, not of the eligibility data.",
    grain="a single protocol (PEG) of an insurer and typing location per row, limited to those with BCI_LOTGUI filled",
    row_filter="only where BCI_LOTGUI is filled",
    columns=(
        text("health_insurer_id", 4, "Operadora", "BCI_CODOPE", "Code of the health insurer (operadora).", rule="digits", required=True),
        text("typing_location", 4, "LocalDigitacao", "BCI_CODLDP", "Location where the guides are typed.", required=True),
        text("protocol_number", 8, "Protocolo", "BCI_CODPEG", "Number of the protocol (PEG).", required=True),
        text("batch_number", 12, "NumeroLote", "BCI_LOTGUI", "Batch number assigned by HAT.", required=True, assumed=True),
        text("health_provider_id", 6, "CodigoPrestador", "BCI_CODRDA", "Provider the batch came from.", required=True),
        text("status", 1, "StatusTISS", "BCI_STTISS", "Status of the protocol in TISS terms; it can move backwards.", rule="in:1,2,3,4,5,6", assumed=True),
        number("value", Kind.AMOUNT, "ValorGuias", "BCI_VLRGUI", "Sum of the values of the guides.", scale=2, rule="non_negative"),
        number("glossed_value", Kind.AMOUNT, "ValorGlosado", "BCI_VLRGLO", "Value denied (glosa).", scale=2, rule="non_negative", assumed=True),
        text("step", 1, "Fase", "BCI_FASE", "Phase: 1 for typing, 2 for checking, 3 for ready, 4 for invoiced.", rule="in:1,2,3,4"),
        date("receipt_date", "DataRecebimento", "BCI_DATREC", "Date on which it was received."),
    ),
)

authorization_cancellations = Entity(
    table="authorization_cancellations",
    area="providers",
    view="HAT_BEA_Cancelamento",
    reads=("BEA",),
    key=("id_on_health_insurer",),
    parents=(
        parent("health_providers", "health_provider_code"),
    ),
    hat_api="authorizations/{idOnHealthInsurer}/cancel",
    meaning="Guides the insurer has cancelled and HAT has to cancel as well; source of HAT's cancel call.",
    grain="a single authorization per row, limited to those with BEA_CANEDI filled",
    row_filter="only where BEA_CANEDI is filled",
    columns=(
        text("id_on_health_insurer", 18, "NumeroAutorizacao", "BEA_OPEMOV+BEA_ANOAUT+BEA_MESAUT+BEA_NUMAUT", "Number of the authorization: 4 positions of insurer, 4 of year, 2 of month and 8 of number.", rule="digits", required=True),
        text("motivo_cancelamento", 3, "MotivoCancelamento", "BEA_CANEDI", "Code of the reason for cancelling.", required=True, assumed=True),
        text("health_provider_code", 6, "CodigoPrestador", "BEA_CODRDA", "Code of the health provider."),
        text("authorization_type", 2, "TipoGuia", "BEA_TIPGUI", "Guide type."),
        date("authorization_date", "DataAtendimento", "BEA_DATPRO", "Date on which the attendance took place."),
    ),
)

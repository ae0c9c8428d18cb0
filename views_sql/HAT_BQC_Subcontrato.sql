-- HAT_BQC_Subcontrato: source of HAT subcontracts, a single version of a subcontract within a contract version per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BQC_CODINT AS Operadora,
    a.BQC_CODEMP AS Empresa,
    a.BQC_NUMCON AS Contrato,
    a.BQC_VERCON AS VersaoContrato,
    a.BQC_SUBCON AS Subcontrato,
    a.BQC_VERSUB AS VersaoSubcontrato,
    a.BQC_DESCRI AS Descricao,
    a.BQC_CNPJ AS CNPJ,
    a.BQC_DATCON AS DataContrato,
    a.BQC_VALID AS DataValidade,
    a.BQC_DATBLO AS DataBloqueio,
    a.BQC_CODBLO AS MotivoBloqueio,
    a.BQC_QUACOB AS QuandoCobrar
FROM {BQC} a

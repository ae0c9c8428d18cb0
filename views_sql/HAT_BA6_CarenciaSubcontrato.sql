-- HAT_BA6_CarenciaSubcontrato: source of HAT subcontract_waiting_periods, a single combination of subcontract version, product, product version and waiting period class per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BA6_CODINT AS Operadora,
    a.BA6_CODIGO AS Empresa,
    a.BA6_NUMCON AS Contrato,
    a.BA6_VERCON AS VersaoContrato,
    a.BA6_SUBCON AS Subcontrato,
    a.BA6_VERSUB AS VersaoSubcontrato,
    a.BA6_CODPRO AS CodigoProduto,
    a.BA6_VERPRO AS VersaoProduto,
    a.BA6_CLACAR AS ClasseCarencia,
    a.BA6_CARENC AS Carencia,
    a.BA6_UNICAR AS UnidadeCarencia
FROM {BA6} a

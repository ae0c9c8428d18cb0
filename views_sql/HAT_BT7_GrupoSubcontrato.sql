-- HAT_BT7_GrupoSubcontrato: source of HAT subcontract_coverage_groups, a single combination of subcontract version, product, product version and coverage group per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BT7_CODINT AS Operadora,
    a.BT7_CODIGO AS Empresa,
    a.BT7_NUMCON AS Contrato,
    a.BT7_VERCON AS VersaoContrato,
    a.BT7_SUBCON AS Subcontrato,
    a.BT7_VERSUB AS VersaoSubcontrato,
    a.BT7_CODPRO AS CodigoProduto,
    a.BT7_VERPRO AS VersaoProduto,
    a.BT7_CODGRU AS GrupoCobertura,
    a.BT7_CARENC AS Carencia,
    a.BT7_UNCAR AS UnidadeCarencia
FROM {BT7} a

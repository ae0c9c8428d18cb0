-- HAT_BT6_ProdutoSubcontrato: source of HAT subcontract_products, a single product version offered by a subcontract version per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BT6_CODINT AS Operadora,
    a.BT6_CODIGO AS Empresa,
    a.BT6_NUMCON AS Contrato,
    a.BT6_VERCON AS VersaoContrato,
    a.BT6_SUBCON AS Subcontrato,
    a.BT6_VERSUB AS VersaoSubcontrato,
    a.BT6_CODPRO AS CodigoProduto,
    a.BT6_VERSAO AS VersaoProduto,
    a.BT6_CODPTU AS CodigoPTU
FROM {BT6} a

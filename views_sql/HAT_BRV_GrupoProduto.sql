-- HAT_BRV_GrupoProduto: source of HAT product_coverage_groups, a single combination of product, version and coverage group per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BRV_CODPLA AS OperadoraProduto,
    a.BRV_VERSAO AS VersaoProduto,
    SUBSTR(a.BRV_CODPLA, 1, 4) AS Operadora,
    a.BRV_CODGRU AS GrupoCobertura
FROM {BRV} a

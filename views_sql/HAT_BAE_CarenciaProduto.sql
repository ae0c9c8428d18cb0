-- HAT_BAE_CarenciaProduto: source of HAT product_waiting_periods, a single combination of product, version, waiting group and waiting period class per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BAE_CODIGO AS OperadoraProduto,
    a.BAE_VERSAO AS VersaoProduto,
    SUBSTR(a.BAE_CODIGO, 1, 4) AS Operadora,
    a.BAE_CODGRU AS GrupoCarencia,
    a.BAE_CLACAR AS ClasseCarencia,
    a.BAE_CARENC AS Carencia,
    a.BAE_UNCAR AS UnidadeCarencia
FROM {BAE} a

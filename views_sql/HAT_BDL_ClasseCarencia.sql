-- HAT_BDL_ClasseCarencia: source of HAT waiting_period_classes, a single class of an insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BDL_CODINT AS Operadora,
    a.BDL_CODIGO AS Codigo,
    a.BDL_DESCRI AS Descricao,
    a.BDL_CARENC AS Carencia,
    a.BDL_UNCAR AS UnidadeCarencia
FROM {BDL} a

-- HAT_BFJ_CarenciaFamilia: source of HAT family_waiting_periods, a single waiting period class of a family per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BFJ_CODINT AS Operadora,
    a.BFJ_CODEMP AS Empresa,
    a.BFJ_MATRIC AS MatriculaFamilia,
    a.BFJ_CLACAR AS ClasseCarencia,
    a.BFJ_CARENC AS Carencia,
    a.BFJ_UNICAR AS UnidadeCarencia
FROM {BFJ} a

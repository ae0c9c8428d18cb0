-- HAT_BAQ_Especialidade: source of HAT specialties, a single specialty of an insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BAQ_CODINT AS Operadora,
    a.BAQ_CODESP AS CodigoEspecialidade,
    a.BAQ_DESCRI AS Descricao,
    a.BAQ_CBOS AS CodigoCBOS
FROM {BAQ} a

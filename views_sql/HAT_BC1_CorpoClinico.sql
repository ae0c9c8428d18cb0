-- HAT_BC1_CorpoClinico: source of HAT clinical_staff, a single combination of provider, location, specialty and professional per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BC1_CODIGO AS CodigoPrestador,
    a.BC1_CODLOC AS CodigoLocal,
    a.BC1_CODESP AS CodigoEspecialidade,
    a.BC1_CODPRF AS CodigoProfissional,
    a.BC1_SIGLCR AS Conselho,
    a.BC1_NUMCR AS NumeroConselho,
    a.BC1_ESTCR AS UFConselho,
    a.BC1_NOMPRF AS Nome
FROM {BC1} a

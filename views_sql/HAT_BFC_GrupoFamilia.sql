-- HAT_BFC_GrupoFamilia: source of HAT family_coverage_groups, a single coverage group of a family per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BFC_CODINT AS Operadora,
    a.BFC_CODEMP AS Empresa,
    a.BFC_MATRIC AS MatriculaFamilia,
    a.BFC_CODGRU AS GrupoCobertura
FROM {BFC} a

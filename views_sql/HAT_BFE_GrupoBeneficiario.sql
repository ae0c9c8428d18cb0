-- HAT_BFE_GrupoBeneficiario: source of HAT beneficiary_coverage_groups, a single coverage group of a beneficiary per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    RPAD(a.BFE_CODINT, 4) || RPAD(a.BFE_CODEMP, 4) || RPAD(a.BFE_MATRIC, 6) || RPAD(a.BFE_TIPREG, 2) AS CodigoSemDigito,
    a.BFE_CODINT AS Operadora,
    a.BFE_CODGRU AS GrupoCobertura,
    a.BFE_DATCAR AS DataCarencia
FROM {BFE} a

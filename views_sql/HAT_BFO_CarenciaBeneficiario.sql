-- HAT_BFO_CarenciaBeneficiario: source of HAT beneficiary_waiting_periods, a single waiting period class of a beneficiary per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BFO_CODINT AS Operadora,
    a.BFO_CODEMP AS Empresa,
    a.BFO_MATRIC AS MatriculaFamilia,
    a.BFO_TIPREG AS TipoRegistro,
    a.BFO_CLACAR AS ClasseCarencia,
    a.BFO_CARENC AS Carencia,
    a.BFO_UNICAR AS UnidadeCarencia,
    a.BFO_DATCAR AS DataCarencia
FROM {BFO} a

-- HAT_BF3_DoencaPreexistente: source of HAT pre_existing_diseases, a single combination of beneficiary, disease, table type and procedure per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    RPAD(a.BF3_CODINT, 4) || RPAD(a.BF3_CODEMP, 4) || RPAD(a.BF3_MATRIC, 6) || RPAD(a.BF3_TIPREG, 2) AS CodigoSemDigito,
    a.BF3_CODDOE AS CodigoDoenca,
    a.BF3_MESAGR AS Carencia,
    a.BF3_UNAGR AS UnidadeCarencia,
    a.BF3_DATCPT AS DataCarencia,
    CASE WHEN LENGTH(TRIM(a.BF3_CODPAD)) > 0 THEN a.BF3_CODPAD ELSE '-' END AS TabelaProcedimento,
    CASE WHEN LENGTH(TRIM(a.BF3_CODPSA)) > 0 THEN a.BF3_CODPSA ELSE '-' END AS Procedimento
FROM {BF3} a

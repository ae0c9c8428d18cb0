-- HAT_BDX_Glosa: what was denied of the guides of a protocol, a single denial of an item of a guide per row. Read by billing alone.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    CASE WHEN a.S_T_A_M_P_ IS NULL OR b.S_T_A_M_P_ > a.S_T_A_M_P_ THEN b.S_T_A_M_P_ ELSE a.S_T_A_M_P_ END AS Carimbo,
    a.BDX_CODOPE AS Operadora,
    a.BDX_CODLDP AS LocalDigitacao,
    a.BDX_CODPEG AS Protocolo,
    a.BDX_NUMERO AS NumeroGuia,
    CASE WHEN LENGTH(TRIM(a.BDX_SEQUEN)) > 0 THEN a.BDX_SEQUEN ELSE '-' END AS Sequencia,
    CASE WHEN LENGTH(TRIM(a.BDX_CODPRO)) > 0 THEN a.BDX_CODPRO ELSE '-' END AS CodigoProcedimento,
    a.BDX_CODGLO AS CodigoGlosa,
    a.BDX_DESGLO AS DescricaoGlosa,
    a.BDX_VLRGLO AS ValorGlosado,
    b.BCT_GLTISS AS GlosaTISS
FROM {BDX} a
LEFT JOIN (
    SELECT j.BCT_CODOPE, j.BCT_CODGLO, MAX(j.R_E_C_N_O_) AS LastRecno
    FROM {BCT} j
    WHERE j.D_E_L_E_T_ <> '*'
    GROUP BY j.BCT_CODOPE, j.BCT_CODGLO
) k ON k.BCT_CODOPE = a.BDX_CODOPE AND k.BCT_CODGLO = a.BDX_CODGLO
LEFT JOIN {BCT} b ON b.R_E_C_N_O_ = k.LastRecno

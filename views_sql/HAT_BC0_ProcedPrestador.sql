-- HAT_BC0_ProcedPrestador: source of HAT health_provider_procedure_coverages, a single combination of provider, insurer, location, specialty, table type, procedure, level, movement type and validity start per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BC0_CODIGO AS CodigoPrestador,
    a.BC0_CODINT AS Operadora,
    a.BC0_CODLOC AS CodigoLocal,
    a.BC0_CODESP AS CodigoEspecialidade,
    a.BC0_CODSUB AS CodigoSubespecialidade,
    a.BC0_CODPAD AS TabelaProcedimento,
    a.BC0_CODOPC AS Procedimento,
    a.BC0_NIVEL AS Nivel,
    a.BC0_TIPO AS TipoMovimento,
    CASE WHEN LENGTH(TRIM(REPLACE(a.BC0_VIGDE, '0', ' '))) > 0 THEN a.BC0_VIGDE ELSE '19000101' END AS VigenciaInicial,
    a.BC0_VIGATE AS VigenciaFinal,
    a.BC0_DATBLO AS DataBloqueio,
    a.BC0_CODBLO AS MotivoBloqueio,
    a.BC0_AUPREV AS AutorizacaoPrevia,
    a.BC0_CDNV01 AS CodigoNivel01,
    a.BC0_CDNV02 AS CodigoNivel02,
    a.BC0_CDNV03 AS CodigoNivel03,
    a.BC0_CDNV04 AS CodigoNivel04
FROM {BC0} a

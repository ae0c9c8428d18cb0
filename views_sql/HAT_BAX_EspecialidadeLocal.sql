-- HAT_BAX_EspecialidadeLocal: source of HAT health_provider_specialties, a single combination of provider, insurer, location, specialty and subspecialty per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BAX_CODIGO AS CodigoPrestador,
    a.BAX_CODINT AS Operadora,
    a.BAX_CODLOC AS CodigoLocal,
    a.BAX_CODESP AS CodigoEspecialidade,
    CASE WHEN LENGTH(TRIM(a.BAX_CODSUB)) > 0 THEN a.BAX_CODSUB ELSE '-' END AS CodigoSubespecialidade,
    a.BAX_CONESP AS ConsideraEspecialidade,
    a.BAX_DATBLO AS DataBloqueio,
    a.BAX_ORDPES AS OrdemPesquisa,
    a.BAX_LIMATM AS PermiteMaterial
FROM {BAX} a

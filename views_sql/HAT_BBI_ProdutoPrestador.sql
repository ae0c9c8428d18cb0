-- HAT_BBI_ProdutoPrestador: source of HAT health_provider_products, a single combination of provider, insurer, location, specialty, product and version per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BBI_CODIGO AS CodigoPrestador,
    a.BBI_CODINT AS Operadora,
    a.BBI_CODLOC AS CodigoLocal,
    a.BBI_CODESP AS CodigoEspecialidade,
    a.BBI_CODPRO AS CodigoProduto,
    a.BBI_VERSAO AS VersaoProduto,
    a.BBI_ATIVO AS Ativo,
    a.BBI_VIGDE AS VigenciaInicial,
    a.BBI_VIGATE AS VigenciaFinal
FROM {BBI} a

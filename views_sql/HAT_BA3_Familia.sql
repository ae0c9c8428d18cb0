-- HAT_BA3_Familia: source of HAT families, a single family of a company and insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BA3_CODINT AS Operadora,
    a.BA3_CODEMP AS Empresa,
    a.BA3_MATRIC AS MatriculaFamilia,
    a.BA3_CONEMP AS Contrato,
    a.BA3_VERCON AS VersaoContrato,
    a.BA3_SUBCON AS Subcontrato,
    a.BA3_VERSUB AS VersaoSubcontrato,
    a.BA3_CODPLA AS CodigoProduto,
    a.BA3_VERSAO AS VersaoProduto,
    a.BA3_TIPOUS AS TipoPessoa,
    a.BA3_DATBAS AS DataInclusao,
    a.BA3_DATBLO AS DataBloqueio,
    a.BA3_MOTBLO AS MotivoBloqueio,
    a.BA3_MATEMP AS MatriculaEmpresa,
    a.BA3_MATANT AS MatriculaAnterior
FROM {BA3} a

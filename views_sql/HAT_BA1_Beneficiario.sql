-- HAT_BA1_Beneficiario: source of HAT beneficiaries, a single card per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    CASE WHEN a.S_T_A_M_P_ IS NULL OR b.S_T_A_M_P_ > a.S_T_A_M_P_ THEN b.S_T_A_M_P_ ELSE a.S_T_A_M_P_ END AS Carimbo,
    RPAD(a.BA1_CODINT, 4) || RPAD(a.BA1_CODEMP, 4) || RPAD(a.BA1_MATRIC, 6) || RPAD(a.BA1_TIPREG, 2) || RPAD(a.BA1_DIGITO, 1) AS CodigoBeneficiario,
    RPAD(a.BA1_CODINT, 4) || RPAD(a.BA1_CODEMP, 4) || RPAD(a.BA1_MATRIC, 6) || RPAD(a.BA1_TIPREG, 2) AS CodigoSemDigito,
    a.BA1_CODINT AS Operadora,
    a.BA1_CODEMP AS Empresa,
    a.BA1_MATRIC AS MatriculaFamilia,
    a.BA1_TIPREG AS TipoRegistro,
    a.BA1_DIGITO AS Digito,
    a.BA1_CONEMP AS Contrato,
    a.BA1_VERCON AS VersaoContrato,
    a.BA1_SUBCON AS Subcontrato,
    a.BA1_VERSUB AS VersaoSubcontrato,
    CASE WHEN LENGTH(TRIM(a.BA1_CODPLA)) > 0 THEN a.BA1_CODPLA ELSE b.BA3_CODPLA END AS CodigoProduto,
    CASE WHEN LENGTH(TRIM(a.BA1_CODPLA)) > 0 THEN a.BA1_VERSAO ELSE b.BA3_VERSAO END AS VersaoProduto,
    a.BA1_MATVID AS CodigoVida,
    a.BA1_NOMUSR AS Nome,
    a.BA1_NOMSOC AS NomeSocial,
    a.BA1_DATNAS AS DataNascimento,
    a.BA1_SEXO AS Sexo,
    a.BA1_CPFUSR AS CPF,
    a.BA1_TIPUSU AS TipoUsuario,
    a.BA1_GRAUPA AS Parentesco,
    a.BA1_CEPUSR AS CEP,
    a.BA1_CODMUN AS CodigoMunicipio,
    a.BA1_DATINC AS DataInclusao,
    a.BA1_DATCAR AS DataCarencia,
    a.BA1_DTVLCR AS ValidadeCartao,
    a.BA1_DATBLO AS DataBloqueio,
    a.BA1_MOTBLO AS MotivoBloqueio,
    a.BA1_MATANT AS CodigoAnterior,
    a.BA1_TKSEED AS SementeToken
FROM {BA1} a
LEFT JOIN (
    SELECT j.BA3_CODINT, j.BA3_CODEMP, j.BA3_MATRIC, MAX(j.R_E_C_N_O_) AS LastRecno
    FROM {BA3} j
    WHERE j.D_E_L_E_T_ <> '*'
    GROUP BY j.BA3_CODINT, j.BA3_CODEMP, j.BA3_MATRIC
) k ON k.BA3_CODINT = a.BA1_CODINT AND k.BA3_CODEMP = a.BA1_CODEMP AND k.BA3_MATRIC = a.BA1_MATRIC
LEFT JOIN {BA3} b ON b.R_E_C_N_O_ = k.LastRecno

-- HAT_BA0_Operadora: source of HAT health_insurers, a single insurer code per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    RPAD(a.BA0_CODIDE, 1) || RPAD(a.BA0_CODINT, 3) AS Operadora,
    a.BA0_SUSEP AS RegistroANS,
    a.BA0_NOMINT AS Nome,
    a.BA0_CGC AS CNPJ,
    a.BA0_CLAINT AS Classe,
    a.BA0_MODOPE AS Modalidade,
    a.BA0_EMAIL AS Email,
    a.BA0_CEP AS CEP,
    a.BA0_TIPLOG AS TipoLogradouro,
    a.BA0_END AS Endereco,
    a.BA0_NUMEND AS NumeroEndereco,
    a.BA0_COMPEN AS Complemento,
    a.BA0_BAIRRO AS Bairro,
    a.BA0_CODMUN AS CodigoMunicipio,
    a.BA0_CIDADE AS Municipio,
    a.BA0_EST AS UF,
    a.BA0_TELEF1 AS Telefone
FROM {BA0} a

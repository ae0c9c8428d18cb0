-- HAT_BTS_Vida: source of HAT persons, a single person per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BTS_MATVID AS CodigoVida,
    a.BTS_CPFUSR AS CPF,
    a.BTS_NOMUSR AS Nome,
    a.BTS_DATNAS AS DataNascimento,
    a.BTS_SEXO AS Sexo,
    a.BTS_NRCRNA AS CartaoNacionalSaude,
    a.BTS_CEPUSR AS CEP,
    a.BTS_CODMUN AS CodigoMunicipio,
    a.BTS_NOMSOC AS NomeSocial,
    a.BTS_EMAIL AS Email
FROM {BTS} a

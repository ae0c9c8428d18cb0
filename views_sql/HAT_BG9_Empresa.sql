-- HAT_BG9_Empresa: source of HAT companies, a single company of an insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BG9_CODINT AS Operadora,
    a.BG9_CODIGO AS Empresa,
    a.BG9_DESCRI AS Nome,
    a.BG9_NREDUZ AS NomeReduzido,
    a.BG9_TIPO AS TipoEmpresa
FROM {BG9} a

-- HAT_BRP_Parentesco: source of HAT kinships, a single kinship code per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BRP_CODIGO AS Codigo,
    a.BRP_DESCRI AS Descricao,
    a.BRP_CODSIB AS CodigoANS,
    a.BRP_SEXO AS Sexo
FROM {BRP} a

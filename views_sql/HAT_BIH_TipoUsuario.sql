-- HAT_BIH_TipoUsuario: source of HAT user_types, a single type code per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BIH_CODTIP AS Codigo,
    a.BIH_DESCRI AS Descricao
FROM {BIH} a

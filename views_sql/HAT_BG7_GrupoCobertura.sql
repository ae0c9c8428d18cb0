-- HAT_BG7_GrupoCobertura: source of HAT coverage_groups, a single group of an insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BG7_CODINT AS Operadora,
    a.BG7_CODGRU AS GrupoCobertura,
    a.BG7_DESCRI AS Descricao
FROM {BG7} a

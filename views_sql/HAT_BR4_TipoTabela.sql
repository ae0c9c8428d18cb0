-- HAT_BR4_TipoTabela: source of HAT procedure_tables, a single table type per row: among the live rows that share a BR4_CODPAD, the one whose BR4_SEGMEN is smallest.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BR4_CODPAD AS TabelaProcedimento,
    a.BR4_DESCRI AS Descricao
FROM {BR4} a
WHERE NOT EXISTS (
    SELECT 1
    FROM {BR4} s
    WHERE s.D_E_L_E_T_ <> '*' AND s.BR4_CODPAD = a.BR4_CODPAD AND {bytes s.BR4_SEGMEN} < {bytes a.BR4_SEGMEN}
)

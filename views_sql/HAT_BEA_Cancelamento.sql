-- HAT_BEA_Cancelamento: source of HAT authorization_cancellations, a single authorization per row, limited to those with BEA_CANEDI filled.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    RPAD(a.BEA_OPEMOV, 4) || RPAD(a.BEA_ANOAUT, 4) || RPAD(a.BEA_MESAUT, 2) || RPAD(a.BEA_NUMAUT, 8) AS NumeroAutorizacao,
    a.BEA_CANEDI AS MotivoCancelamento,
    a.BEA_CODRDA AS CodigoPrestador,
    a.BEA_TIPGUI AS TipoGuia,
    a.BEA_DATPRO AS DataAtendimento
FROM {BEA} a
WHERE LENGTH(TRIM(a.BEA_CANEDI)) > 0

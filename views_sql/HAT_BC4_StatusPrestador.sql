-- HAT_BC4_StatusPrestador: source of HAT health_provider_status_history, a single event per row, identified by provider, event date and event type.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    CASE WHEN a.S_T_A_M_P_ IS NULL OR b.S_T_A_M_P_ > a.S_T_A_M_P_ THEN b.S_T_A_M_P_ ELSE a.S_T_A_M_P_ END AS Carimbo,
    a.BC4_CODCRE AS CodigoPrestador,
    a.BC4_TIPO AS TipoEvento,
    a.BC4_DTBLQ AS DataEvento,
    b.BAU_CPFCGC AS CPFCNPJ
FROM {BC4} a
LEFT JOIN (
    SELECT j.BAU_CODIGO, MAX(j.R_E_C_N_O_) AS LastRecno
    FROM {BAU} j
    WHERE j.D_E_L_E_T_ <> '*'
    GROUP BY j.BAU_CODIGO
) k ON k.BAU_CODIGO = a.BC4_CODCRE
LEFT JOIN {BAU} b ON b.R_E_C_N_O_ = k.LastRecno

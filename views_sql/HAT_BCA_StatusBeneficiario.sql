-- HAT_BCA_StatusBeneficiario: source of HAT beneficiary_status_history, a single event per row, identified by beneficiary, event date and event type.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    RPAD(a.BCA_MATRIC, 14) || RPAD(a.BCA_TIPREG, 2) AS CodigoSemDigito,
    a.BCA_DATA AS DataEvento,
    a.BCA_TIPO AS TipoEvento,
    a.BCA_OBS AS Motivo,
    a.BCA_DATLAN AS DataLancamento,
    a.BCA_HORLAN AS HoraLancamento,
    a.BCA_MOTBLO AS MotivoBloqueio,
    a.BCA_NIVBLQ AS NivelBloqueio
FROM {BCA} a

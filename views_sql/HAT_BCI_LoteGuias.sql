-- HAT_BCI_LoteGuias: source of HAT batch_authorizations, a single protocol (PEG) of an insurer and typing location per row, limited to those with BCI_LOTGUI filled.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BCI_CODOPE AS Operadora,
    a.BCI_CODLDP AS LocalDigitacao,
    a.BCI_CODPEG AS Protocolo,
    a.BCI_LOTGUI AS NumeroLote,
    a.BCI_CODRDA AS CodigoPrestador,
    a.BCI_STTISS AS StatusTISS,
    a.BCI_VLRGUI AS ValorGuias,
    a.BCI_VLRGLO AS ValorGlosado,
    a.BCI_FASE AS Fase,
    a.BCI_DATREC AS DataRecebimento
FROM {BCI} a
WHERE LENGTH(TRIM(a.BCI_LOTGUI)) > 0

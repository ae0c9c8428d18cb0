-- HAT_BXX_ArquivoRecebido: TISS files that PLS has received, a single file of a provider at an insurer per row. Read by billing alone.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BXX_CODINT AS Operadora,
    a.BXX_CODRDA AS CodigoPrestador,
    a.BXX_ARQIN AS Arquivo,
    a.BXX_STATUS AS Situacao,
    a.BXX_CODPEG AS Protocolo,
    a.BXX_DATMOV AS DataMovimento
FROM {BXX} a

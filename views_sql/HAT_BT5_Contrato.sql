-- HAT_BT5_Contrato: source of HAT contracts, a single version of a contract of a company per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BT5_CODINT AS Operadora,
    a.BT5_CODIGO AS Empresa,
    a.BT5_NUMCON AS Contrato,
    a.BT5_VERSAO AS VersaoContrato,
    a.BT5_DATCON AS DataContrato,
    a.BT5_TIPCON AS TipoContrato
FROM {BT5} a

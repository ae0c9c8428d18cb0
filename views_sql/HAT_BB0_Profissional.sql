-- HAT_BB0_Profissional: source of HAT professionals, a single professional code per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BB0_CODIGO AS CodigoProfissional,
    a.BB0_CGC AS CPF,
    a.BB0_CODSIG AS Conselho,
    a.BB0_NOME AS Nome,
    a.BB0_NUMCR AS NumeroConselho,
    a.BB0_ESTADO AS UFConselho,
    a.BB0_CODOPE AS Operadora,
    a.BB0_DATBLO AS DataBloqueio
FROM {BB0} a

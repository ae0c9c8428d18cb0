-- HAT_BAU_Prestador: source of HAT health_providers, a single provider code per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BAU_CODIGO AS CodigoPrestador,
    a.BAU_CPFCGC AS CPFCNPJ,
    a.BAU_NOME AS Nome,
    a.BAU_NREDUZ AS NomeReduzido,
    a.BAU_TIPPE AS TipoPessoa,
    a.BAU_TIPPRE AS ClassePrestador,
    a.BAU_EMAIL AS Email,
    a.BAU_CNES AS CNES,
    a.BAU_CODBB0 AS CodigoProfissional,
    a.BAU_DTINCL AS DataInclusao,
    a.BAU_DATBLO AS DataBloqueio
FROM {BAU} a

-- HAT_BI3_Produto: source of HAT products, a single version of a product of an insurer per row.
SELECT
    a.R_E_C_N_O_ AS Recno,
    CASE WHEN a.D_E_L_E_T_ = '*' THEN 1 ELSE 0 END AS Excluido,
    a.S_T_A_M_P_ AS Carimbo,
    a.BI3_CODINT AS Operadora,
    a.BI3_CODIGO AS CodigoProduto,
    a.BI3_VERSAO AS VersaoProduto,
    RPAD(a.BI3_CODINT, 4) || RPAD(a.BI3_CODIGO, 4) AS OperadoraProduto,
    a.BI3_DESCRI AS Descricao,
    a.BI3_NREDUZ AS NomeReduzido,
    a.BI3_SUSEP AS RegistroProdutoANS,
    a.BI3_TIPCON AS TipoContrato,
    a.BI3_CODSEG AS Segmentacao,
    a.BI3_CODACO AS Acomodacao,
    a.BI3_ABRANG AS Abrangencia,
    a.BI3_MODPAG AS ModalidadePagamento
FROM {BI3} a

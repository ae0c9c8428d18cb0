"""What the operator reads about a value that failed, in Brazilian Portuguese.

A reason names the column and says what is wrong, what became of the value, and what to do in Protheus. It never holds
a value of the data.
"""

from __future__ import annotations

from hat_etl.entities.model import Column, Rule

_PROBLEMS = {
    "required": "é obrigatória e está vazia",
    "too_long": "aceita no máximo {width} caracteres e o texto é mais longo",
    "invalid_date": "não traz um dia real entre 01/01/1900 e 31/12/2199 no formato AAAAMMDD",
    "invalid_number": "não traz um número que caiba no tipo {type}",
    "control_character": "traz caracteres de controle, como tabulação, quebra de linha ou NUL",
    "cpf": "não traz um CPF válido: 11 algarismos, nem todos iguais, com os dois dígitos verificadores corretos",
    "cnpj": "não traz um CNPJ válido: 12 letras maiúsculas ou algarismos e os dois dígitos verificadores corretos",
    "cpf_or_cnpj": "não traz um CPF (11 posições) nem um CNPJ (14 posições) válido",
    "cns": "não traz um Cartão Nacional de Saúde válido: 15 algarismos, iniciados por 1, 2, 7, 8 ou 9, "
    "com soma de verificação correta",
    "cep": "não traz um CEP válido: 8 algarismos, nem todos zero",
    "uf": "não traz a sigla de uma das 27 unidades da federação",
    "ans_registry": "não traz um registro ANS válido: 6 algarismos",
    "cnes": "não traz um código CNES válido: 7 algarismos",
    "digits": "aceita somente algarismos de 0 a 9",
    "email": "não traz um e-mail válido: uma só @, texto antes dela, ponto no domínio e nenhum espaço",
    "in": "aceita somente os códigos {argument}",
    "map": "aceita somente os códigos {argument}",
    "not_future": "traz uma data posterior ao dia da execução",
    "not_before": "traz uma data anterior à da coluna {argument}",
    "positive": "aceita somente números maiores que zero",
    "non_negative": "não aceita números negativos",
    "check_digit": "não termina com o dígito verificador dos 16 primeiros algarismos do cartão",
}

_MENDS = {
    "required": "Preencha {fields} no Protheus.",
    "too_long": "Encurte {fields} no Protheus.",
    "control_character": "Redigite {fields} no Protheus sem esses caracteres.",
}
_MEND = "Corrija {fields} no Protheus."

_REJECTED = "A linha fica fora do HAT até a correção."
_FATES = {
    "too_long": "O texto foi cortado.",
    "control_character": "Foram trocados por espaços.",
    "invalid_date": "A coluna ficou vazia no HAT.",
    "invalid_number": "A coluna ficou vazia no HAT.",
    "map": "A coluna ficou vazia no HAT.",
}
_KEPT = "O valor foi mantido como veio."


def reason(column: Column, rule: str, *, rejects: bool) -> str:
    """The sentence for a failure of ``rule`` (a token's name) in ``column``."""
    declared = column.rule(rule)
    problem = _PROBLEMS[rule].format(
        width=column.width, type=column.sql_type, argument=_argument(declared) if declared else ""
    )
    if rule == "required" and column.source.is_concatenation:
        problem = "é obrigatória e está incompleta: cada parte tem de ocupar todo o seu tamanho, sem espaços"
    fate = _REJECTED if rejects else _FATES.get(rule, _KEPT)
    mend = _MENDS.get(rule, _MEND).format(fields=_fields(column))
    return f"A coluna {column.name} ({column.alias}) {problem}. {fate} {mend}"


def _argument(rule: Rule) -> str:
    match rule.name:
        case "in":
            return ", ".join(rule.values)
        case "map":
            return ", ".join(rule.mapping)
        case _:
            return rule.argument


def _fields(column: Column) -> str:
    """The Protheus fields that the value is taken from."""
    source = column.source
    if source.joined and source.fields:
        return f"{source.fields[0]} ou {source.joined}"
    names = source.fields or (source.joined or "",)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} e {names[-1]}"

"""The folder of tenant files: list, load, create. Every fault is a ConfigurationError that says how to mend it."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.config import TENANT_NAME, Tenant, accepted_keys

FOLDER_VARIABLE = "HAT_ETL_TENANTS"


def folder() -> Path:
    """Where the tenant files lie: the folder named by HAT_ETL_TENANTS, or ``tenants`` here."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "tenants")


def path(name: str) -> Path:
    """The file of tenant ``name``, there or not."""
    if not re.fullmatch(TENANT_NAME, name):
        raise ConfigurationError(
            "A tenant's name is made of small letters, digits, - and _.",
            f"Give the tenant such a name; its file is then {folder()}/NAME.toml.",
            tenant=name,
        )
    return folder() / f"{name}.toml"


def names() -> list[str]:
    """Every tenant that has a file, good or broken, in alphabetical order."""
    return sorted(file.stem for file in folder().glob("*.toml") if not file.name.startswith("."))


def all_names() -> list[str]:
    """As ``names``, for work on every tenant. Raises ConfigurationError when there is none."""
    found = names()
    if not found:
        raise ConfigurationError(
            f"There is no tenant file in {folder()}.",
            f"Point {FOLDER_VARIABLE} to the folder that holds them, or create one: hat-etl tenant new NAME"
            " --ans-registry NUMBER",
        )
    return found


def load(name: str) -> Tenant:
    """The tenant ``name``. Raises ConfigurationError when its file is missing or wrong."""
    file = path(name)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        known = ", ".join(names())
        raise ConfigurationError(
            f"There is no tenant file {file}.",
            (f"Name one of the known tenants ({known})" if known else "No tenant is known in that folder yet")
            + f", create it with: hat-etl tenant new {name} --ans-registry NUMBER, or point {FOLDER_VARIABLE} to the"
            " folder that holds it.",
            tenant=name,
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"The tenant file {file} cannot be read ({error.strerror}).",
            "Make it a file that the user who runs hat-etl may read.",
            tenant=name,
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"The tenant file {file} is not UTF-8 text.", "Save it as UTF-8.", tenant=name
        ) from None
    return _parse(name, file, text)


def create(
    name: str,
    *,
    ans_registry: str,
    dialect: str = "postgresql",
    company: str = "01",
    schema: str | None = None,
    views_schema: str | None = None,
    connections: int = 4,
    windows: Sequence[str] = (),
    erp_url: str | None = None,
    hat_url: str | None = None,
    hat_schema: str = "hat",
) -> tuple[Tenant, Path]:
    """Write a commented file for a new tenant and load it. Never overwrites, never writes what would not load."""
    file = path(name)
    variable = environment_prefix(name)
    text = _TEMPLATE.format(
        name=_toml(name),
        ans_registry=_toml(ans_registry),
        dialect=_toml(dialect),
        erp_url=_toml(erp_url or f"env:{variable}_ERP_URL"),
        schema=_optional("schema", schema, "protheus"),
        views_schema=_optional("views_schema", views_schema, "hat"),
        company=_toml(company),
        connections=connections,
        windows=f"windows = {_toml(list(windows))}" if windows else '# windows = ["20:00-06:00"]',
        hat_url=_toml(hat_url or f"env:{variable}_HAT_URL"),
        hat_schema=_toml(hat_schema),
        token=f"env:{variable}_MASTER_TOKEN",
    )
    try:
        tenant = _parse(name, file, text)
    except ConfigurationError as error:
        error.next_step = error.next_step.replace("Correct the file.", "Correct what was given; no file was written.")
        raise
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            try:
                stream.write(text)
                stream.flush()
            except OSError:
                file.unlink()
                raise
    except OSError as error:
        if isinstance(error, FileExistsError) and file.parent.is_dir():
            raise ConfigurationError(
                f"The tenant file {file} is already there and is left as it is.",
                "Edit it, or choose another name.",
                tenant=name,
            ) from None
        raise ConfigurationError(
            f"The tenant file {file} cannot be written ({error.strerror}).",
            f"Point {FOLDER_VARIABLE} to a folder that you may write to.",
            tenant=name,
        ) from None
    return tenant, file


def environment_prefix(name: str) -> str:
    """What the names of the tenant's environment variables begin with."""
    prefix = name.upper().replace("-", "_")
    return f"_{prefix}" if prefix[0].isdigit() else prefix


def _parse(name: str, file: Path, text: str) -> Tenant:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Only the place: the parser's own words may quote the line.
        place = re.search(r"at (line \d+, column \d+)", str(error))
        raise ConfigurationError(
            f"The tenant file {file} is not valid TOML ({place[1] if place else 'it ends too early'}).",
            "Mend that line: texts stand between double quotes, each key stands once.",
            tenant=name,
        ) from None
    try:
        tenant = Tenant.model_validate(document, context={"folder": file.parent, "tenant": name}, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        causes, hints = zip(*(_explain(detail) for detail in details), strict=True)
        hint = " ".join(dict.fromkeys(hint for hint in hints if hint))
        raise ConfigurationError(
            f"In {file}: {'; '.join(causes)}.", f"Correct the file.{' ' + hint if hint else ''}", tenant=name
        ) from None
    if tenant.name != name:
        raise ConfigurationError(
            f"In {file}: name: must equal the name of the file, {name}.", "Correct the name or rename the file.", name
        )
    return tenant


def _explain(detail: ErrorDetails) -> tuple[str, str]:
    """One fault as (cause, hint), from its place and kind alone."""
    location = detail["loc"]
    key = ".".join(_key(part) for part in location) or "the file"
    match detail["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(location[-1]), accepted_keys(location[:-1]), n=1)
            accepted = ", ".join(accepted_keys(location[:-1]))
            return f"{key}: unknown key", f"Did you mean {near[0]}?" if near else f"Accepted here: {accepted}."
        case "missing":
            return f"{key}: is missing", ""
        case "value_error":
            return f"{key}: {detail['ctx']['error']}", ""
        case "model_type" | "model_attributes_type":
            return f"{key}: must be a table, [{key}]", ""
        case _:
            return f"{key}: {detail['msg'][:1].lower()}{detail['msg'][1:]}", ""


def _key(part: Any) -> str:
    """A key as it is shown. One that is no plain word is not: somebody may have quoted a secret there."""
    return str(part) if isinstance(part, int) or re.fullmatch(r"[A-Za-z0-9_-]{1,40}", part) else "(a quoted key)"


def _toml(value: object) -> str:
    """Texts and lists of texts of JSON are valid TOML."""
    return json.dumps(value)


def _optional(key: str, value: str | None, example: str) -> str:
    return f"{key} = {_toml(value)}" if value is not None else f"# {key} = {_toml(example)}"


_TEMPLATE = """\
# A tenant of hat_etl. No secret stands here: url and master_token say where one lies, env:NAME or file:PATH.
name = {name}
# Registration of the operator at ANS, 6 digits.
ans_registry = {ans_registry}

[erp]
# The Protheus database: postgresql or oracle.
dialect = {dialect}
url = {erp_url}
# Owner of the PLS tables; without it, the login's own schema.
{schema}
# Where the views are made and read; without it, the same schema.
{views_schema}
# Company of Protheus: with 01, table BA1 is ba1010.
company = {company}
# At most this many connections to the ERP, all runs together.
connections = {connections}
# Hours in which the ERP may be read; without them, always. timezone = "America/Sao_Paulo" unless given.
{windows}

[hat]
# The tenant's own PostgreSQL database, and the schema of the HAT tables in it.
url = {hat_url}
schema = {hat_schema}
# Needed for billing only; [hat.api] and [billing] too.
# api_url = "https://..."
# master_token = "{token}"

[schedule]
# When to synchronise (cron: minute, hour, day, month, weekday).
# incremental = "0 * * * *"
"""

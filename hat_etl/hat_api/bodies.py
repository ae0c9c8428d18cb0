"""What HAT's API sends and takes. Unknown properties are passed over; errors never repeat a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """Properties are spelled as in HAT (batchNumber), attributes as in Python (batch_number)."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        frozen=True,
    )

    def document(self) -> dict[str, Any]:
        """As HAT takes it; what was not given is left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _null_is_false(value: Any) -> Any:
    return False if _blank_is_none(value) is None else value


_Optional = Annotated[str | None, BeforeValidator(_blank_is_none)]


class LotItem(Body):
    """A lot as ``GET /batchesAuthorization`` lists it. The file is ``azure_storage_file_path``, signed by the token."""

    batch_number: Annotated[str, Field(min_length=1)]
    health_provider_id: Annotated[str, Field(min_length=1)]
    batch_date: _Optional = None
    auth_type: _Optional = None
    is_deleted: Annotated[bool, BeforeValidator(_null_is_false)] = False
    azure_storage_file_path: _Optional = None
    azure_storage_sas_token: SecretStr | None = None


class RejectionCause(Body):
    """Why a lot, a guide or an item was refused or denied, for the provider to read."""

    code: str
    description: str
    detailed_description: str = ""


class LotUpdate(Body):
    """What ``PUT /batchesAuthorization/{batchNumber}`` takes. ``status``: 1 to 6, as in TISS."""

    code_susep: str
    batch_number: str
    health_provider_id: str
    protocol: str | None = None
    status: Annotated[int, Field(ge=1, le=6)] | None = None
    tracking_status: int
    rejection_causes: list[RejectionCause] = []


class TokenReceipt(Body):
    """The answer 202 to a cadastral write; both spellings of the token are met."""

    token: Annotated[str, Field(validation_alias=AliasChoices("tokenId", "tokenProcess"), min_length=1)]


class IntegrationAnswer(Body):
    """What became of a cadastral write: ``GET /integration/{tokenId}``."""

    id_tenant: _Optional = None
    code: _Optional = None
    message: _Optional = None
    detailed_message: list[Any] | str | None = None

    @property
    def is_good(self) -> bool:
        """Whether what was asked is done: a code of HTTP's 200s, or none at all."""
        return self.code is None or self.code.startswith("2")

    @property
    def told(self) -> str:
        """What HAT says, in one line. It may quote the data."""
        detail = self.detailed_message if isinstance(self.detailed_message, list) else [self.detailed_message]
        words = [self.message, *(_text(part) for part in detail)]
        return "; ".join(word.strip() for word in words if word and word.strip())


def _text(part: Any) -> str | None:
    """One detail of an answer: a sentence, or an error with a message of its own."""
    if isinstance(part, dict):
        part = part.get("message") or part.get("detailedMessage")
    return None if part is None else str(part)


class _Provider(Body):
    model_config = ConfigDict(**{**Body.model_config, "extra": "allow"})

    health_provider_id: _Optional = None


class Authorization(Body):
    """An authorization as ``GET /authorizations`` gives it; properties that are not named here are kept, too."""

    model_config = ConfigDict(**{**Body.model_config, "extra": "allow"})

    id_on_health_insurer: Annotated[str, Field(min_length=1)]
    authorization_id: _Optional = None
    authorization_type: _Optional = None
    authorization_date: _Optional = None
    authorization_status: _Optional = None
    health_provider: _Provider | None = None

    @property
    def provider(self) -> str | None:
        return None if self.health_provider is None else self.health_provider.health_provider_id


ItemT = TypeVar("ItemT", bound=Body)


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """One page of a list. ``broken`` counts items that are not as they should be."""

    items: tuple[ItemT, ...]
    has_next: bool
    broken: int = 0


def page_of(item: type[ItemT], document: Any) -> Page[ItemT]:
    """Read a page; an item that cannot be read hides no other. Raises ValueError when it is no page at all."""
    entries = document.get("items") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a page: no items")  # noqa: TRY004 - the value of a document, not of an argument
    found, broken = [], 0
    for entry in entries:
        try:
            found.append(item.model_validate(entry))
        except ValidationError:
            broken += 1
    return Page(tuple(found), is_yes(document.get("hasNext")), broken)


def is_yes(value: Any) -> bool:
    """A flag of a list, which may come as a text."""
    return value.strip().lower() in ("true", "1", "s", "sim", "y", "yes") if isinstance(value, str) else bool(value)

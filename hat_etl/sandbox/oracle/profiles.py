"""The releases of Oracle that the server can pass for, and what differs between them on the wire."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """One release. ``fields`` is the field version: which additions its messages carry."""

    name: str
    protocol: int
    fields: int
    version: int
    """As the login reports it: one byte for the major release, then nibbles."""
    ends_responses: bool = False
    """Whether each answer closes with a message of its own."""

    @property
    def has_12_2(self) -> bool:
        return self.fields >= 8

    @property
    def has_12_2_ext(self) -> bool:
        return self.fields >= 9

    @property
    def has_20_1(self) -> bool:
        return self.fields >= 14

    @property
    def has_23_1(self) -> bool:
        return self.fields >= 17

    @property
    def has_tokens(self) -> bool:
        return self.fields >= 18

    @property
    def has_23_1_domains(self) -> bool:
        return self.fields >= 20

    @property
    def has_23_4(self) -> bool:
        return self.fields >= 24


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("12c", 315, 8, 0x0C20_0100),
        Profile("19c", 318, 12, 0x1315_0000),
        Profile("23ai", 319, 24, 0x1706_0000, ends_responses=True),
    )
}
"""By name."""

"""The settings of the audit trail: what signs it, and where its checkpoints are kept outside.

Knows nothing about how an anchor works.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from infra.objects import S3Options
from infra.setting_types import CollectionName, Cron, Folder, Section, SigningKey, anchor_place


class AnchorSettings(Section):
    """One place outside the ledger that keeps signed checkpoints."""

    kind: Literal["store", "directory", "timestamp", "witness"] = Field(
        description="an object store, a folder on other storage, an RFC 3161 authority, a C2SP witness"
    )
    place: str = Field(description="a location, a folder, or the authority's or witness's address")
    s3: S3Options = Field(default_factory=S3Options, description="how the store is reached, if s3://")
    retain_days: int = Field(
        3650, ge=0, le=36500, description="days that an object store with locks keeps each checkpoint"
    )
    retain_mode: Literal["compliance", "governance"] = Field(
        "compliance", description="governance: an administrator of the store may lift the lock"
    )
    vkey: str | None = Field(None, description="the witness's key, as it prints it")
    certificate: Folder | None = Field(None, description="PEM file of the authority's root certificate")

    @field_validator("place")
    @classmethod
    def _is_a_place(cls, value: str, info: ValidationInfo) -> str:
        return anchor_place(info.data.get("kind", "store"), value)

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if self.kind == "timestamp" and self.certificate is None:
            raise ValueError("a time stamp is worth nothing unchecked: name the authority's root certificate")
        if self.kind == "witness" and self.vkey is None:
            raise ValueError(
                "a cosignature is worth nothing unchecked: give the witness's vkey, as it prints it"
            )
        return self


class AuditSettings(Section):
    """How the audit trail is signed, and where its checkpoints are kept outside."""

    origin: str | None = Field(
        None, description="the log's name in checkpoints; else made from the installation"
    )
    key: SigningKey = Field(
        "audit-key",
        validate_default=True,
        description="what signs: a file (made on first use), env:NAME, or command:PROGRAM",
    )
    cron: Cron = Field("30 5 * * *", description="when the trail is checked and signed, idle or not")
    clock_tolerance_seconds: float = Field(
        300.0, ge=0, description="how far the clock may go back unremarked"
    )
    acknowledged: list[Annotated[str, StringConstraints(pattern=r"^[0-9]+:[0-9a-f]{16}$")]] = Field(
        [],
        description="restores from a backup that whoever is alarmed knows of, as `fwd2bot audit verify` names them",
    )
    anchors: dict[CollectionName, AnchorSettings] = Field(
        {}, description="by name: where signed checkpoints are kept, outside of the ledger"
    )

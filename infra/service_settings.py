"""The settings of the console and the HTTP service: where they listen, how long people stay in, what bounds them.

Knows nothing about pages or requests.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from infra.setting_types import Folder, Section


class ServiceSettings(Section):
    """`fwd2bot console`: pages for people and an API for programs, in one process; see docs/console.md."""

    host: str = Field(
        "127.0.0.1", description="address to listen at; another than this machine's own needs TLS"
    )
    port: int = Field(8484, ge=0, le=65535, description="port to listen at; 0: any free one")
    names: tuple[str, ...] = Field(
        (), description="host names that requests may use, beside localhost and host"
    )
    certificate: Folder | None = Field(None, description="PEM file of the certificate, to serve TLS")
    key: Folder | None = Field(None, description="PEM file of the certificate's key")
    proxies: tuple[str, ...] = Field(
        (),
        description="addresses of reverse proxies that end TLS in front; who comes is taken from their headers",
    )
    session_minutes: float = Field(480.0, gt=0, le=10_080, description="how long somebody stays signed in")
    token_days: int = Field(
        90, ge=1, le=3650, description="how long a token of `fwd2bot people token` is good for"
    )
    at_once: int = Field(
        32, ge=1, le=1000, description="requests that are worked on at once; more are refused"
    )
    per_minute: int = Field(600, ge=1, description="requests a minute from one address; more are refused")
    body_bytes: int = Field(1_048_576, ge=1024, description="largest request body in bytes")
    webhook: str | None = Field(None, description="address that is told of alerts by POST, as JSON")
    alert_minutes: float = Field(10.0, gt=0, description="how often the console looks for alerts")
    overdue_hours: float = Field(
        36.0, gt=0, description="a collection without a good night for so long is an alert"
    )

    @field_validator("webhook")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("this is no web address without credentials; write https://host/path")
        return value

    @model_validator(mode="after")
    def _nobody_listens_in(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS needs both: certificate and key")
        if not self.local and self.certificate is None and not self.proxies:
            raise ValueError(
                f"host {self.host!r} is beyond this machine, and tokens would travel in clear: name certificate and "
                "key, or name in proxies the reverse proxy that ends TLS in front"
            )
        return self

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS, so that cookies may be for TLS only."""
        return self.certificate is not None or bool(self.proxies)

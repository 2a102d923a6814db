"""How an S3 store is reached: a frozen, typed value that prints and pickles without its secrets.

Knows names and limits. Knows nothing of boto3.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from fwd2bot_core.errors import StoreUnreachable


class Credentials(NamedTuple):
    """An access key in the clear, for the moment in which a client is made."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return "Credentials(…)"


class S3Options(BaseModel):
    """Options of one S3 store.

    Credentials come from the three secret fields; else from the environment variables named by the three
    ``_env`` fields; else from where AWS tools look (environment, profile, instance role). A pickle carries
    the variables' names, never a secret: a worker must find the secrets in its own environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Annotated[str, Field(pattern=r"^https?://[^/@]+/?$")] | None = Field(
        default=None, description="http(s)://host:port of a server that is not AWS"
    )
    region: str | None = Field(
        default=None, description="the bucket's region, if the environment does not say it"
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="bucket in the path or in the host name"
    )
    kms_key: str | None = Field(default=None, description="KMS key that new objects are encrypted with")
    versioned: bool = Field(
        default=False, description="name originals by version id; needs a versioned bucket"
    )
    attempts: int = Field(default=5, ge=1, le=20, description="tries of one request, the first included")
    connect_timeout: float = Field(default=5.0, gt=0, description="seconds")
    read_timeout: float = Field(default=60.0, gt=0, description="seconds without a byte")
    connections: int = Field(default=32, ge=1, description="open at a time from one process")
    access_key_id: SecretStr | None = Field(default=None, description="better left to the environment")
    secret_access_key: SecretStr | None = Field(default=None, description="better left to the environment")
    session_token: SecretStr | None = Field(default=None, description="better left to the environment")
    access_key_id_env: str | None = Field(
        default=None, description="environment variable that holds the access key id"
    )
    secret_access_key_env: str | None = Field(
        default=None, description="environment variable that holds the secret key"
    )
    session_token_env: str | None = Field(
        default=None, description="environment variable that holds the session token"
    )

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        pairs = [
            (self.access_key_id, self.secret_access_key),
            (self.access_key_id_env, self.secret_access_key_env),
        ]
        if any((first is None) != (second is None) for first, second in pairs):
            raise ValueError("an access key id and a secret access key are given together or not at all")
        return self

    def credentials(self) -> Credentials | None:
        """None means: where AWS tools look. Raises ``StoreUnreachable`` if a named variable is not set."""
        if self.access_key_id is not None and self.secret_access_key is not None:
            token = self.session_token.get_secret_value() if self.session_token else None
            return Credentials(
                self.access_key_id.get_secret_value(), self.secret_access_key.get_secret_value(), token
            )
        if self.access_key_id_env is None or self.secret_access_key_env is None:
            return None
        token = os.environ.get(self.session_token_env) if self.session_token_env else None
        return Credentials(_variable(self.access_key_id_env), _variable(self.secret_access_key_env), token)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        secrets = dict.fromkeys(("access_key_id", "secret_access_key", "session_token"))
        return {**state, "__dict__": {**state["__dict__"], **secrets}}


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise StoreUnreachable(
            f"The environment variable {name} with the S3 credentials is not set here: set it."
        )
    return value

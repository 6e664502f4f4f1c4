"""The environment, read once into one frozen object.

Only edges (`worker.py`, `cli.py`, `api/app.py`, `stack/`) call `Settings()`; everything else is
handed what it needs.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _env(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Where the servers are, and the few things an operator decides."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path(".holdfast"), validation_alias=_env("HOLDFAST_HOME"))

    database_url: SecretStr = Field(validation_alias=_env("DATABASE_URL"))
    migration_database_url: SecretStr | None = Field(
        default=None,
        description="As the owner of the tables; only `holdfast migrate` and `doctor` need it.",
        validation_alias=_env("MIGRATION_DATABASE_URL"),
    )
    relay_database_url: SecretStr | None = Field(
        default=None,
        description="As the relay's role; the worker needs it, the API does not.",
        validation_alias=_env("RELAY_DATABASE_URL"),
    )
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = Field(
        default=24, validation_alias=_env("DATABASE_POOL_SIZE")
    )
    redis_url: SecretStr | None = Field(default=None, validation_alias=_env("REDIS_URL"))
    typesense_url: str | None = Field(default=None, validation_alias=_env("TYPESENSE_URL"))
    typesense_api_key: SecretStr | None = Field(
        default=None, validation_alias=_env("TYPESENSE_API_KEY")
    )
    temporal_address: str = Field(validation_alias=_env("TEMPORAL_ADDRESS"))
    temporal_namespace: str = Field(default="default", validation_alias=_env("TEMPORAL_NAMESPACE"))
    temporal_tls: bool = Field(default=False, validation_alias=_env("TEMPORAL_TLS"))
    temporal_api_key: SecretStr | None = Field(
        default=None,
        description="For Temporal Cloud; goes with TEMPORAL_TLS.",
        validation_alias=_env("TEMPORAL_API_KEY"),
    )
    temporal_ui_url: str | None = Field(default=None, validation_alias=_env("TEMPORAL_UI_URL"))
    mail_url: str | None = Field(
        default=None,
        description="smtp://user:password@host:port, smtps://…, or file:///folder",
        validation_alias=_env("MAIL_URL"),
    )
    mail_from: str = Field(
        default="support@localhost.localdomain", validation_alias=_env("MAIL_FROM")
    )

    webhooks_allow_private: bool = Field(
        default=False,
        description="Whether webhooks may lead to this machine and private networks, and be plain"
        " http. For development.",
        validation_alias=_env("HOLDFAST_WEBHOOKS_ALLOW_PRIVATE"),
    )
    language_models_allow_private: bool = Field(
        default=False,
        description="Whether a desk's language model may run on this machine or a private network,"
        " behind plain http too. Every admin of a desk may then name such an address.",
        validation_alias=_env("HOLDFAST_LANGUAGE_MODELS_ALLOW_PRIVATE"),
    )

    secret_key: SecretStr = Field(
        min_length=32,
        description="Signs access tokens and links. Changing it makes those already given out void;"
        " who is signed in gets new tokens at the next refresh.",
        validation_alias=_env("HOLDFAST_SECRET_KEY"),
    )
    api_host: str = Field(default="127.0.0.1", validation_alias=_env("HOLDFAST_API_HOST"))
    api_port: int = Field(default=8080, validation_alias=_env("HOLDFAST_API_PORT"))
    public_url: str = Field(
        default="http://127.0.0.1:8080", validation_alias=_env("HOLDFAST_PUBLIC_URL")
    )
    forwarded_allow_ips: str | None = Field(
        default=None,
        description="Proxies whose X-Forwarded-For is believed, as uvicorn reads them.",
        validation_alias=_env("FORWARDED_ALLOW_IPS"),
    )
    tenant_signup: bool = Field(
        default=True,
        description="Whether anybody may create a tenant with its first admin over HTTP.",
        validation_alias=_env("HOLDFAST_TENANT_SIGNUP"),
    )
    workflow_sandbox: bool = Field(
        default=False,
        description="Run workflows in Temporal's sandbox: slower, catches non-determinism.",
        validation_alias=_env("HOLDFAST_WORKFLOW_SANDBOX"),
    )
    search_attributes: bool = Field(
        default=True,
        description="Off where search attributes may not be registered with Temporal.",
        validation_alias=_env("HOLDFAST_SEARCH_ATTRIBUTES"),
    )
    metrics_port: int | None = Field(
        default=None,
        description="Where the worker serves its Prometheus metrics; none when unset.",
        validation_alias=_env("HOLDFAST_WORKER_METRICS_PORT"),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias=_env("HOLDFAST_LOG_LEVEL")
    )
    log_format: Literal["json", "console"] = Field(
        default="json", validation_alias=_env("HOLDFAST_LOG_FORMAT")
    )

    def as_owner(self) -> str:
        """The database's address as the owner of its tables. Raises MissingSetting."""
        return _needed(self.migration_database_url, "MIGRATION_DATABASE_URL")

    def as_relay(self) -> str:
        """The database's address as the relay. Raises MissingSetting."""
        return _needed(self.relay_database_url, "RELAY_DATABASE_URL")


class MissingSetting(Exception):
    """A variable that this program cannot do without is not set."""


def _needed(value: SecretStr | None, name: str) -> str:
    if value is None:
        raise MissingSetting(f"Set {name}: this program connects to Postgres with it.")
    return value.get_secret_value()

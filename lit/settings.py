"""Configuration: environment `LIT_*`, then `lit.toml`, then defaults. Read once, passed down."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lit.streams.errors import UserError


class Settings(BaseSettings):
    """What can be set; each field's description is its documentation (`lit doctor --settings` prints them)."""

    model_config = SettingsConfigDict(env_prefix="LIT_", toml_file="lit.toml", extra="ignore")

    data: Path = Field(default=Path("data"), description="folder of all files, topics and ticks")
    kafka: str | None = Field(default=None, description="bootstrap servers; unset: an embedded Kafka is started")
    clickhouse: str | None = Field(default=None, description="DSN of a ClickHouse server; unset: chDB is opened")
    host: str = Field(default="127.0.0.1", description="address that the API and the page listen on")
    port: int = Field(default=8000, description="port of the API and the page; 0: any free one")
    replication: int = Field(default=1, description="replicas of each topic; 3 on a real cluster")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least that is logged"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="log lines as text or as JSON objects")

    def __init__(self, **values: Any) -> None:
        """Read them; a value that cannot be used raises `UserError` with its name."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = (f"LIT_{str(one['loc'][0]).upper()} is {one['input']!r}: {one['msg']}" for one in error.errors())
            raise UserError("; ".join(wrong)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before `lit.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

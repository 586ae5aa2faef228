"""The configuration file as frozen, validated values."""

from cos_ftp_server.settings.load import LoadedSettings, load_settings
from cos_ftp_server.settings.model import (
    AccountSettings,
    FileOptionSettings,
    NetworkSettings,
    OptionalSettings,
    Settings,
)

__all__ = [
    "AccountSettings",
    "FileOptionSettings",
    "LoadedSettings",
    "NetworkSettings",
    "OptionalSettings",
    "Settings",
    "load_settings",
]

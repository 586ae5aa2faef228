"""The settings: one declaration per key, frozen and validated.

Owns names, meanings, defaults and bounds; a further key is one more declaration here, and a
further section one more field of `Settings`. It must not know files. Field names are the keys
of the configuration file; the section is the name of the field in `Settings`, in upper case.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cos_ftp_server.settings import forms
from cos_ftp_server.settings.forms import Form, choice, whole

__all__ = [
    "AccountSettings",
    "FileOptionSettings",
    "NetworkSettings",
    "OptionalSettings",
    "Section",
    "Settings",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

LEAST_BUFFER_MEMORY = 16 * MIB
"""Bytes of `buffer_memory` that transfers need to get on."""

COS_MIN_PART = MIB
COS_MAX_PART = 5 * GIB
COS_MAX_PARTS = 10_000
"""COS: multipart upload, a part has 1 MB to 5 GB and an upload at most 10,000 of them."""


# COS: Storage Class Overview.
_StorageClass = Literal[
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ARCHIVE",
    "DEEP_ARCHIVE",
    "MAZ_STANDARD",
    "MAZ_STANDARD_IA",
    "MAZ_INTELLIGENT_TIERING",
]


class Section(BaseModel):
    """One section of the file. A field with a `Form` is a key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def keys(cls) -> dict[str, Form]:
        """Return the keys of this section in the order of their declaration."""
        found = {}
        for name, declared in cls.model_fields.items():
            for metadata in declared.metadata:
                if isinstance(metadata, Form):
                    found[name] = metadata
        return found


class AccountSettings(Section):
    """`[COS_ACCOUNT_…]`: one FTP user and the bucket that is this user's root directory."""

    section: str = Field(description="Name of the section that declares this account")
    cos_credential: Annotated[Literal["key", "cvm_role"], choice("key", "cvm_role")] = Field(
        default="key",
        description="`key`: cos_secretid and cos_secretkey. `cvm_role`: temporary keys of the role "
        "that is bound to this CVM, renewed by themselves",
    )
    cos_secretid: Annotated[str | None, forms.CREDENTIAL] = Field(
        default=None,
        validate_default=True,
        repr=False,
        description="SecretId of the API key; required unless cos_credential = cvm_role",
    )
    cos_secretkey: Annotated[SecretStr | None, forms.CREDENTIAL] = Field(
        default=None,
        validate_default=True,
        description="SecretKey of the API key; required unless cos_credential = cvm_role",
    )
    cos_token: Annotated[SecretStr | None, forms.TOKEN] = Field(
        default=None, description="Token of the API key, if that is a temporary one"
    )
    cos_bucket: Annotated[str, forms.BUCKET] = Field(description="Bucket, as NAME-APPID")
    cos_endpoint: Annotated[str | None, forms.ENDPOINT] = Field(
        default=None,
        description="Host of a private deployment or of another domain; wins over cos_region",
    )
    cos_region: Annotated[str | None, forms.REGION] = Field(
        default=None,
        validate_default=True,
        description="Region of the bucket; required unless cos_endpoint is given",
    )
    cos_protocol: Annotated[Literal["https", "http"], choice("https", "http")] = Field(
        default="https", description="How COS is spoken to, also at a cos_endpoint"
    )
    cos_prefix: Annotated[str, forms.PREFIX] = Field(
        default="",
        description="Directory of the bucket that this user sees as `/` and cannot leave; accounts "
        "may share a bucket",
    )
    home_dir: Annotated[Path, forms.DIRECTORY] = Field(
        description="Local directory that stands for this account; it must exist, belong to no "
        "other account, and nothing is stored in it"
    )
    ftp_login_user_name: Annotated[str, forms.USER_NAME] = Field(
        description="FTP user name, of this account only"
    )
    ftp_login_user_password: Annotated[SecretStr, forms.PASSWORD] = Field(
        description="FTP password, or its argon2id hash as `hash-password` prints it"
    )
    authority: Annotated[
        Literal["R", "W", "RW"],
        choice("R", "W", "RW", **dict.fromkeys(("wr", "r/w", "r,w"), "RW")),
    ] = Field(description="What this user may do: R read, W write, RW both")
    delete_enable: Annotated[bool, forms.BOOLEAN] = Field(
        default=True, description="Whether this user may delete files and directories"
    )
    overwrite_enable: Annotated[bool, forms.BOOLEAN] = Field(
        default=True,
        description="Whether this user may replace a file that exists, by uploading or by renaming",
    )
    max_sessions: Annotated[int, whole(0)] = Field(
        default=0, description="Sessions of this user at any one time; 0 means no limit"
    )
    storage_class: Annotated[_StorageClass | None, choice(*get_args(_StorageClass))] = Field(
        default=None,
        description="Storage class of uploaded files; when not given, the bucket's own",
    )
    server_side_encryption: Annotated[
        Literal["AES256", "cos/kms"] | None, choice("AES256", "cos/kms")
    ] = Field(
        default=None,
        description="How COS encrypts uploaded files; when not given, as the bucket says",
    )
    content_type_enable: Annotated[bool, forms.BOOLEAN] = Field(
        default=True,
        description="Whether uploaded files get a Content-Type by the ending of their name",
    )

    @field_validator("cos_secretid", "cos_secretkey", "cos_token")
    @classmethod
    def _check_credential(cls, value: object, info: ValidationInfo) -> object:
        # A cos_credential that was refused is missing from `data`, and reported already.
        source = info.data.get("cos_credential")
        if value is None and source == "key" and info.field_name != "cos_token":
            raise ValueError("is required, unless cos_credential = cvm_role")
        if value is not None and source == "cvm_role":
            raise ValueError("must not be given with cos_credential = cvm_role")
        return value

    @field_validator("cos_region")
    @classmethod
    def _require_region_or_endpoint(cls, region: str | None, info: ValidationInfo) -> str | None:
        # An endpoint that was refused is missing from `data`, and reported already.
        if region is None and info.data.get("cos_endpoint", "refused") is None:
            raise ValueError("is not filled in, and neither is cos_endpoint")
        return region


class NetworkSettings(Section):
    """`[NETWORK]`: where clients reach the server."""

    listen_address: Annotated[tuple[str, ...], forms.LISTEN_ADDRESSES] = Field(
        default=("0.0.0.0", "::"),  # noqa: S104 -- an FTP server is there to be reached
        description="Local IP addresses to listen at, with commas between them",
    )
    listen_port: Annotated[int, whole(0, 65535)] = Field(
        default=2121, description="TCP port of control connections; 0 takes any free one"
    )
    masquerade_address: Annotated[str | None, forms.MASQUERADE] = Field(
        default=None,
        description="IPv4 address or host name told to clients in PASV replies, for a server "
        "behind NAT; empty or XXX.XXX.XXX.XXX means not set",
    )
    passive_port: Annotated[tuple[int, int], forms.PORT_RANGE] = Field(
        default=(60000, 65535),
        description="First and last TCP port of passive data connections, both included",
    )


class FileOptionSettings(Section):
    """`[FILE_OPTION]`: what a file may be."""

    single_file_max_size: Annotated[int, whole(1, COS_MAX_PARTS * COS_MAX_PART, unit="bytes")] = (
        Field(default=200 * GIB, description="Largest file that may be uploaded, in bytes")
    )


class OptionalSettings(Section):
    """`[OPTIONAL]`: tuning. Every key here may be given the word `default`."""

    min_part_size: Annotated[int, whole(COS_MIN_PART, COS_MAX_PART, unit="bytes")] = Field(
        default=8 * MIB,
        description="Size in bytes of the first parts of a large upload; later ones grow",
    )
    upload_thread_num: Annotated[int, whole(1, 1000)] = Field(
        default=16, description="Parts on their way to COS at any one time, of all uploads together"
    )
    buffer_memory: Annotated[int, whole(LEAST_BUFFER_MEMORY, unit="bytes")] = Field(
        default=256 * MIB,
        description="Memory in bytes for the data of all transfers together; at its end "
        "clients are held back. When not given, it is less on a machine with little memory",
    )
    interrupted_upload: Annotated[Literal["discard", "keep"], choice("discard", "keep")] = Field(
        default="discard",
        description="What becomes of an upload that its client breaks off, or that is cut or times "
        "out: `discard` it, so that a file is either complete or not there; `keep` what arrived, "
        "which may replace a complete file by the beginning of a new one, to be resumed later",
    )
    max_connection_num: Annotated[int, whole(0)] = Field(
        default=512, description="Control connections at any one time; 0 means no limit"
    )
    max_login_users: Annotated[int, whole(0)] = Field(
        default=100, description="Sessions logged in at any one time; 0 means no limit"
    )
    idle_timeout: Annotated[int, whole(1, unit="seconds")] = Field(
        default=300,  # RFC 1123, 4.1.3.2: at least 5 minutes
        description="Seconds after which a silent session without a transfer is closed",
    )
    stop_timeout: Annotated[int, whole(0, unit="seconds")] = Field(
        default=30, description="Seconds that transfers get to finish when the server is stopped"
    )
    max_list_file: Annotated[int, whole(1)] = Field(
        default=10_000, description="Entries that one listing shows at most"
    )
    config_check_enable: Annotated[bool, forms.BOOLEAN] = Field(
        default=True,
        description="Whether to refuse to start when the settings could need more than 60 % of "
        "the memory that is available",
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        choice("DEBUG", "INFO", "WARNING", "ERROR", warn="WARNING", critical="ERROR"),
    ] = Field(default="INFO", description="Least important kind of message that is logged")
    log_dir: Annotated[Path, forms.PATH] = Field(
        default=Path("log"),
        description="Directory of the log files, made when missing. Below it, in `uploads`, stands "
        "which multipart uploads are under way, so that none is left behind by a kill, and which "
        "uploads broke off",
    )
    log_format: Annotated[Literal["text", "json"], choice("text", "json")] = Field(
        default="text", description="How the lines of the log file are written"
    )
    xferlog_enable: Annotated[bool, forms.BOOLEAN] = Field(
        default=False,
        description="Whether to keep log_dir/xferlog, a line per file in the format of wu-ftpd",
    )
    log_rotate_enabled: Annotated[bool, forms.BOOLEAN] = Field(
        default=True, description="Whether to begin a new log file from time to time"
    )
    log_rotate_when: Annotated[Literal["S", "M", "H", "D"], choice("S", "M", "H", "D")] = Field(
        default="D", description="Every second, minute, hour or day"
    )
    log_backup_count: Annotated[int, whole(0)] = Field(
        default=30, description="Old log files to keep; 0 keeps all"
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_defaults(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {
            key: value
            for key, value in values.items()
            if not (isinstance(value, str) and value.casefold() == "default")
        }


class Settings(Section):
    """Everything that is configured. `accounts` in the order of the file."""

    accounts: tuple[AccountSettings, ...]
    network: NetworkSettings = NetworkSettings()
    file_option: FileOptionSettings = FileOptionSettings()
    optional: OptionalSettings = OptionalSettings()

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cos_ftp_server.accounts import hash_password
from cos_ftp_server.errors import ConfigError
from cos_ftp_server.settings import Settings, load, load_settings
from cos_ftp_server.settings.forms import Form
from cos_ftp_server.settings.memory import Need
from cos_ftp_server.settings.model import AccountSettings, OptionalSettings, Section

SECRET = "s3cr3t"
MIB = 1024**2

# The file as the manual that users have shows it: comments after values, tabs, `default`.
DOCUMENTED = Path(__file__).with_name("documented.conf")
EXAMPLE = Path(__file__).parents[3] / "conf" / "vsftpd.conf.example"


class Configuration:
    """A configuration file in the making: good as it is, until a test changes it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "vsftpd.conf"
        self.directory = directory

    def account(self, number: int = 0, /, **changes: str | None) -> str:
        home = self.directory / f"user{number}"
        home.mkdir(exist_ok=True)
        entries: dict[str, str | None] = {
            "cos_secretid": "AKIDexample",
            "cos_secretkey": SECRET,
            "cos_bucket": "example-1250000000",
            "cos_region": "ap-guangzhou",
            "home_dir": str(home),
            "ftp_login_user_name": f"user{number}",
            "ftp_login_user_password": SECRET,
            "authority": "RW",
        }
        lines = [f"{k} = {v}" for k, v in (entries | changes).items() if v is not None]
        return "\n".join([f"[COS_ACCOUNT_{number}]", *lines, ""])

    def load(self, *parts: str) -> Settings:
        return self.load_with_warnings(*parts)[0]

    def load_with_warnings(self, *parts: str) -> tuple[Settings, list[str]]:
        self.write("".join(parts))
        loaded = load_settings(self.path)
        return loaded.settings, [str(warning.located("file")) for warning in loaded.warnings]

    def refuse(self, *parts: str) -> list[str]:
        """Return the lines of the error without the path."""
        self.write("".join(parts))
        with pytest.raises(ConfigError) as caught:
            load_settings(self.path)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)
        return [line.removeprefix(f"{self.path}:") for line in str(caught.value).splitlines()]

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8", errors="surrogateescape")
        self.path.chmod(0o600)


@pytest.fixture
def conf(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path)


def filled_in(text: str, directory: Path) -> str:
    """Do what the manual tells people to do with the example."""
    for number in (0, 1):
        (directory / f"user{number}").mkdir()
    return (
        text.replace("/home/", f"{directory}/")
        .replace("{bucket name}-123", "example-1250000000")
        .replace("ap-xxx", "ap-guangzhou")
        .replace("= XXXXXX", "= AKIDexample")
        .replace("= XXXXX", "= AKIDexample")
        .replace("= XXXX", "= AKIDexample")
    )


@pytest.mark.parametrize("path", [DOCUMENTED, EXAMPLE], ids=lambda path: path.name)
def test_the_documented_file_works_once_it_is_filled_in(conf: Configuration, path: Path) -> None:
    settings, warnings = conf.load_with_warnings(
        filled_in(path.read_text(encoding="utf-8"), conf.directory)
    )
    assert warnings == []
    first, second = settings.accounts
    assert (first.section, first.ftp_login_user_name) == ("COS_ACCOUNT_0", "user0")
    assert first.ftp_login_user_password.get_secret_value() == "pass0"
    assert (first.cos_region, first.cos_endpoint, first.cos_protocol) == (
        "ap-guangzhou",
        None,
        "https",
    )
    assert (first.authority, first.delete_enable, second.delete_enable) == ("RW", True, False)
    assert settings.network.masquerade_address is None
    assert settings.network.passive_port == (60000, 65535)
    assert settings.optional == OptionalSettings()


@pytest.mark.parametrize("path", [DOCUMENTED, EXAMPLE], ids=lambda path: path.name)
def test_the_documented_file_as_it_is_names_all_that_must_be_filled_in(
    conf: Configuration, path: Path
) -> None:
    lines = conf.refuse(path.read_text(encoding="utf-8"))
    for section in ("COS_ACCOUNT_0", "COS_ACCOUNT_1"):
        for key in ("cos_secretid", "cos_secretkey", "cos_bucket", "cos_region", "home_dir"):
            assert any(f"[{section}] {key}: " in line for line in lines), (section, key)
    assert len(lines) == 10


def test_a_file_that_was_edited_by_hand_for_years(conf: Configuration) -> None:
    """All of this was taken by earlier servers, and means what it meant to them."""
    for name in ("a", "b"):
        (conf.directory / name).mkdir()
    text = f"""\
# \u8bbe\u7f6e
[NETWORK]
listen_port: 2121
masquerade_address = ""
passive_port = 60000
[COS_ACCOUNT]
  COS_SecretId=AKIDexample\t; comment
\tcos_secretkey = a%b=c;d
cos_bucket = my-example-1250000000
cos_region = ap-guangzhou
cos_endpoint =
home_dir = {conf.directory}/a/
ftp_login_user_name=Camera 1
ftp_login_user_password=100%#1
authority=WR
delete_enable=FALSE\t\t\t# comment

[COS_ACCOUNT_old]
cos_secretid = AKIDexample
cos_secretkey = {SECRET}
cos_bucket = example-1250000000
cos_region = ap-xxx
cos_endpoint = cos.example.com:8443
cos_protocol = HTTP
home_dir = {conf.directory}/b
ftp_login_user_name = camera 1
ftp_login_user_password = 100%#1
authority = R
"""
    conf.path.write_bytes(text.replace("\n", "\r\n").encode("gbk"))
    conf.path.chmod(0o600)
    loaded = load_settings(conf.path)
    assert loaded.warnings == ()
    settings = loaded.settings
    first, second = settings.accounts
    assert (first.home_dir, second.home_dir) == (conf.directory / "a", conf.directory / "b")
    assert (kept(first.cos_secretkey), first.cos_endpoint) == ("a%b=c;d", None)
    assert kept(first.ftp_login_user_password) == "100%#1"
    assert (first.authority, first.delete_enable, second.delete_enable) == ("RW", False, True)
    assert (second.cos_endpoint, second.cos_protocol) == ("cos.example.com:8443", "http")
    assert settings.network.masquerade_address is None
    assert settings.network.passive_port == (60000, 65535)
    assert settings.optional == OptionalSettings()


@pytest.mark.parametrize("key", OptionalSettings.keys())
def test_every_optional_key_may_be_the_word_default(conf: Configuration, key: str) -> None:
    text = f"[OPTIONAL]\n{key} = default\n{conf.account()}"
    assert conf.load(text).optional == OptionalSettings()


def test_every_key_of_the_example_exists_and_every_key_is_in_the_example() -> None:
    shown = {
        line.removeprefix("#").partition("=")[0].strip()
        for line in EXAMPLE.read_text(encoding="utf-8").splitlines()
        if "=" in line and not line.startswith(("# ", "["))
    }
    models = [AccountSettings] + [
        declared.annotation
        for declared in Settings.model_fields.values()
        if isinstance(declared.annotation, type) and issubclass(declared.annotation, Section)
    ]
    assert shown == {key for model in models for key in model.keys()}  # noqa: SIM118 -- no dict


def test_every_key_says_what_it_means_and_what_is_right() -> None:
    for model in (AccountSettings, *map(type, Settings(accounts=()).__dict__.values())):
        if not issubclass(model, Section):
            continue
        for key, form in model.keys().items():
            assert model.model_fields[key].description
            assert isinstance(form, Form)
            assert form.expected


GOOD = [
    ("[OPTIONAL]", "min_part_size", "1048576", 1048576),
    ("[OPTIONAL]", "min_part_size", "DEFAULT", 8 * 1024**2),
    ("[OPTIONAL]", "upload_thread_num", "64", 64),
    ("[OPTIONAL]", "max_connection_num", "0", 0),
    ("[OPTIONAL]", "log_level", "debug", "DEBUG"),
    ("[OPTIONAL]", "log_dir", "/var/log/ftp", Path("/var/log/ftp")),
    ("[OPTIONAL]", "log_dir", "default", Path("log")),
    ("[OPTIONAL]", "log_rotate_when", "h", "H"),
    ("[OPTIONAL]", "config_check_enable", "False", False),
    ("[FILE_OPTION]", "single_file_max_size", "53687091200000", 53687091200000),
    ("[NETWORK]", "listen_port", "21", 21),
    ("[network]", "Listen_Port", "21", 21),
    ("[NETWORK]", "passive_port", "50000 , 50000", (50000, 50000)),
    ("[NETWORK]", "passive_port", "50000", (50000, 65535)),
    ("[NETWORK]", "listen_address", "127.0.0.1,::1", ("127.0.0.1", "::1")),
    ("[NETWORK]", "listen_address", "0:0:0:0:0:0:0:1", ("::1",)),
    ("[NETWORK]", "masquerade_address", "", None),
    ("[NETWORK]", "masquerade_address", "203.0.113.7", "203.0.113.7"),
    ("[NETWORK]", "masquerade_address", "ftp.example.com", "ftp.example.com"),
]


@pytest.mark.parametrize(("section", "key", "text", "value"), GOOD)
def test_a_good_value(
    conf: Configuration, section: str, key: str, text: str, value: object
) -> None:
    loaded = conf.load(conf.account(), f"{section}\n{key} = {text}\n")
    found = getattr(loaded, section.strip("[]").lower())
    assert getattr(found, key.lower()) == value


BAD = [
    ("[OPTIONAL]", "min_part_size", "8M", "is not a whole number"),
    ("[OPTIONAL]", "min_part_size", "1048575", "is out of range"),
    ("[OPTIONAL]", "min_part_size", "5368709121", "is out of range"),
    ("[OPTIONAL]", "upload_thread_num", "0", "is out of range"),
    ("[OPTIONAL]", "upload_thread_num", "", "is not a whole number"),
    ("[OPTIONAL]", "max_connection_num", "-1", "is out of range"),
    ("[OPTIONAL]", "max_connection_num", "9" * 5000, "is not a whole number"),
    ("[OPTIONAL]", "max_list_file", "1e4", "is not a whole number"),
    ("[OPTIONAL]", "log_level", "LOUD", "right would be DEBUG or INFO or WARNING or ERROR"),
    ("[OPTIONAL]", "log_rotate_when", "W", "is not known"),
    ("[OPTIONAL]", "log_rotate_enabled", "maybe", "is neither true nor false"),
    ("[OPTIONAL]", "log_dir", "", "is empty"),
    ("[FILE_OPTION]", "single_file_max_size", "200G", "is not a whole number"),
    ("[FILE_OPTION]", "single_file_max_size", "53687091200001", "is out of range"),
    ("[FILE_OPTION]", "single_file_max_size", "default", "is not a whole number"),
    ("[NETWORK]", "listen_port", "65536", "right would be a whole number from 0 to 65535"),
    ("[NETWORK]", "passive_port", "65535,60000", "is not a rising range"),
    ("[NETWORK]", "passive_port", "0,10", "is not a rising range"),
    ("[NETWORK]", "passive_port", "60000-65535", "is not a range of ports"),
    ("[NETWORK]", "listen_address", "localhost", "'localhost', which is no IP address"),
    ("[NETWORK]", "listen_address", "", "has no IP address"),
    ("[NETWORK]", "listen_address", "127.0.0.1,", "has an empty item"),
    ("[NETWORK]", "masquerade_address", "203.0.113.256", "is no valid IPv4 address"),
    ("[NETWORK]", "masquerade_address", "2001:db8::1", "is no IPv4 address"),
    ("[NETWORK]", "masquerade_address", "http://ftp.example.com", "is no IPv4 address"),
    ("[NETWORK]", "masquerade_address", "ftp example", "is neither an IPv4 address nor a host"),
]


@pytest.mark.parametrize(("section", "key", "text", "words"), BAD)
def test_a_wrong_value_is_told_with_its_place_and_what_would_be_right(
    conf: Configuration, section: str, key: str, text: str, words: str
) -> None:
    (line,) = conf.refuse(conf.account(), f"{section}\n{key} = {text}\n")
    assert line.startswith(f"11: {section} {key}: {text!r}")
    assert words in line
    assert "; right would be " in line


GOOD_ACCOUNT = [
    ("authority", "r", "R"),
    ("authority", "WR", "RW"),
    ("authority", "rw", "RW"),
    ("authority", "R/W", "RW"),
    ("cos_prefix", "cameras/yard", "cameras/yard/"),
    ("cos_prefix", "/cameras/yard/", "cameras/yard/"),
    ("cos_prefix", "カメラ 1", "カメラ 1/"),
    ("cos_prefix", "..a/b..", "..a/b../"),
    ("cos_prefix", "/", ""),
    ("cos_prefix", "", ""),
    ("storage_class", "standard_ia", "STANDARD_IA"),
    ("server_side_encryption", "aes256", "AES256"),
    ("server_side_encryption", "cos/kms", "cos/kms"),
    ("max_sessions", "3", 3),
    ("overwrite_enable", "False", False),
    ("content_type_enable", "FALSE", False),
    ("delete_enable", "no", False),
    ("delete_enable", "ON", True),
    ("delete_enable", "0", False),
    ("cos_protocol", "HTTP", "http"),
    ("cos_endpoint", "", None),
    ("cos_endpoint", "cos.example.com:8080", "cos.example.com:8080"),
    ("cos_endpoint", "10.0.0.1", "10.0.0.1"),
    ("cos_bucket", "my-long-name-125", "my-long-name-125"),
    ("home_dir", "//usr/../tmp/", Path("/tmp")),
    ("ftp_login_user_name", "カメラ 1", "カメラ 1"),
]


@pytest.mark.parametrize(("key", "text", "value"), GOOD_ACCOUNT)
def test_a_good_account_value(conf: Configuration, key: str, text: str, value: object) -> None:
    (account,) = conf.load(conf.account(**{key: text})).accounts
    assert getattr(account, key) == value


def test_a_password_may_have_any_character_but_white_space_before_a_comment(
    conf: Configuration,
) -> None:
    for password in ("100%", "a#b;c", "a=b", "%(x)s", "p: q", "パスワード", "env", "file"):
        (account,) = conf.load(conf.account(ftp_login_user_password=password)).accounts
        assert account.ftp_login_user_password.get_secret_value() == password


BAD_ACCOUNT = [
    ("cos_prefix", "a/../b", "has '.' or '..' in it"),
    ("cos_prefix", "..", "has '.' or '..' in it"),
    ("cos_prefix", "a//b", "has an empty name in it"),
    ("cos_prefix", "a\x07b", "has characters that object keys must not have"),
    ("cos_prefix", "x" * 600, "is longer than 600 bytes"),
    ("storage_class", "COLD", "is not known; right would be STANDARD or STANDARD_IA or "),
    ("server_side_encryption", "SSE-C", "right would be AES256 or cos/kms"),
    ("max_sessions", "-1", "is out of range"),
    ("cos_credential", "role", "right would be key or cvm_role"),
    ("cos_credential", "cvm_role", "must not be given with cos_credential = cvm_role"),
    ("cos_secretid", None, "is required, unless cos_credential = cvm_role"),
    ("cos_secretkey", None, "is required, unless cos_credential = cvm_role"),
    ("cos_token", "", "the value is empty"),
    ("cos_secretid", "AKIDxxxxxxxx", "the value is a placeholder"),
    ("cos_secretid", "", "the value is empty"),
    ("cos_secretid", "XXXXXX", "the value is a placeholder"),
    ("cos_secretid", f"{SECRET} {SECRET}", "the value has characters that no API key has"),
    ("cos_secretkey", f"{SECRET}é", "the value has characters that no API key has"),
    ("cos_bucket", "example", "is not lower-case letters, digits and hyphens"),
    ("cos_bucket", "Example-125", "is not lower-case letters, digits and hyphens"),
    ("cos_bucket", "example-1250000000.cos", "is not lower-case letters, digits and hyphens"),
    ("cos_bucket", "{bucket name}-123", "is a placeholder"),
    ("cos_region", "ap guangzhou", "is no region name"),
    ("cos_region", "ap-xxx", "is not filled in, and neither is cos_endpoint"),
    ("cos_region", None, "is not filled in, and neither is cos_endpoint"),
    ("cos_endpoint", "https://cos.example.com", "is not a host"),
    ("cos_endpoint", "cos.example.com/path", "is not a host"),
    ("cos_endpoint", "ap-xxx.myqcloud.com", "is a placeholder"),
    ("cos_protocol", "ftp", "is not known; right would be https or http"),
    ("home_dir", "/no such/place", "mend with: mkdir -p '/no such/place'"),
    ("home_dir", None, "is required"),
    ("ftp_login_user_name", "", "is empty"),
    ("ftp_login_user_password", "", "is empty"),
    ("ftp_login_user_password", None, "is required"),
    ("ftp_login_user_password", f"$argon2id${SECRET}", "the value is a damaged hash"),
    ("authority", "X", "right would be R or W or RW"),
    ("authority", None, "is required"),
    ("delete_enable", "maybe", "right would be true or false"),
]


@pytest.mark.parametrize(("key", "text", "words"), BAD_ACCOUNT)
def test_a_wrong_account_value(conf: Configuration, key: str, text: str | None, words: str) -> None:
    lines = conf.refuse(conf.account(**{key: text}))
    if text == "cvm_role":  # which is good, but not together with a key
        assert [line.partition(":")[0] for line in lines] == ["2", "3"]
    else:
        (line,) = lines
        assert f": [COS_ACCOUNT_0] {key}: " in line
    assert all(words in line for line in lines)


# Values kept elsewhere


KEPT_ELSEWHERE = ["cos_secretid", "cos_secretkey", "cos_token", "ftp_login_user_password"]


def kept(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.mark.parametrize("key", KEPT_ELSEWHERE)
def test_a_value_from_the_environment(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET", f"{SECRET}-2")
    (account,) = conf.load(conf.account(**{key: "env:GATEWAY_SECRET"})).accounts
    assert kept(getattr(account, key)) == f"{SECRET}-2"


@pytest.mark.parametrize("key", KEPT_ELSEWHERE)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_value_from_a_file(conf: Configuration, key: str, end: str) -> None:
    file = conf.directory / "secret"
    file.write_bytes(f"{SECRET}-2{end}".encode())
    (account,) = conf.load(conf.account(**{key: f"file:{file}"})).accounts
    assert kept(getattr(account, key)) == f"{SECRET}-2"


def test_only_one_line_end_is_taken_from_a_file(conf: Configuration) -> None:
    file = conf.directory / "secret"
    file.write_text("two lines\n\n")
    text = conf.account(ftp_login_user_password=f"file:{file}")
    (account,) = conf.load(text).accounts
    assert account.ftp_login_user_password.get_secret_value() == "two lines\n"


@pytest.mark.parametrize("key", KEPT_ELSEWHERE)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env:GATEWAY_NOTHING", "names the environment variable 'GATEWAY_NOTHING', which is not"),
        ("file:/no such file", "names the file '/no such file', which cannot be read: No such"),
        ("file:/", "names the file '/', which cannot be read: Is a directory"),
        ("file:", "names the file '', which cannot be read"),
        ("file:{binary}", "which is not a text file in UTF-8"),
        ("file:{empty}", "the value is empty"),
    ],
)
def test_a_value_that_is_not_where_it_should_be(
    conf: Configuration, key: str, text: str, words: str
) -> None:
    for name, content in (("binary", b"\xff" + SECRET.encode()), ("empty", b"")):
        (conf.directory / name).write_bytes(content)
        text = text.replace(f"{{{name}}}", str(conf.directory / name))
    (line,) = conf.refuse(conf.account(**{key: text}))
    assert f": [COS_ACCOUNT_0] {key}: the value " in line
    assert words in line
    assert "or env:NAME, or file:PATH" in line


@pytest.mark.parametrize(
    "key",
    [
        *("cos_credential", "cos_secretid", "cos_secretkey", "cos_endpoint", "cos_region"),
        *("home_dir", "ftp_login_user_name", "ftp_login_user_password", "authority"),
    ],
)
def test_a_value_that_is_not_utf8_is_one_problem(conf: Configuration, key: str) -> None:
    without_region = {"cos_region": None} if key == "cos_endpoint" else {}
    damaged = {key: "gr\udcfcn"}  # as Latin-1 has it
    other = conf.account(1, **damaged) if key == "ftp_login_user_name" else conf.account(1)
    lines = conf.refuse(conf.account(**without_region, **damaged), other)
    for line in lines:
        assert line.endswith(f"{key}: is not UTF-8; save the file as UTF-8")
    assert len(lines) == (2 if key == "ftp_login_user_name" else 1)


def test_what_is_kept_elsewhere_is_checked_like_any_other_value(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET", f"{SECRET} {SECRET}")
    (line,) = conf.refuse(conf.account(cos_secretkey="env:GATEWAY_SECRET"))
    assert "has characters that no API key has" in line


def test_a_role_in_place_of_a_key(conf: Configuration) -> None:
    text = conf.account(cos_credential="cvm_role", cos_secretid=None, cos_secretkey=None)
    (account,) = conf.load(text).accounts
    assert (account.cos_secretid, account.cos_secretkey) == (None, None)
    (line,) = conf.refuse(text, "cos_token = abc\n")
    assert "cos_token: the value must not be given with cos_credential = cvm_role" in line


def test_a_hash_of_another_kind_is_refused(conf: Configuration) -> None:
    hashed = hash_password(SECRET)
    assert conf.load(conf.account(ftp_login_user_password=hashed))
    other = hashed.replace("argon2id", "argon2i")
    (line,) = conf.refuse(conf.account(ftp_login_user_password=other))
    assert "another kind" in line
    assert other not in line


def test_an_endpoint_makes_the_region_unnecessary(conf: Configuration) -> None:
    for region in ("ap-xxx", "", None):
        text = conf.account(cos_region=region, cos_endpoint="cos.example.com")
        (account,) = conf.load(text).accounts
        assert (account.cos_region, account.cos_endpoint) == (None, "cos.example.com")


def test_accounts_that_share_a_name_or_a_directory(conf: Configuration) -> None:
    lines = conf.refuse(
        conf.account(0),
        conf.account(1, ftp_login_user_name="user0"),
        conf.account(2, home_dir=f"{conf.directory}//user1/"),
    )
    name, directory = lines
    assert name.startswith("16: [COS_ACCOUNT_1] ftp_login_user_name: 'user0'")
    assert "both [COS_ACCOUNT_0] (line 7) and [COS_ACCOUNT_1]" in name
    assert directory.startswith(f"24: [COS_ACCOUNT_2] home_dir: '{conf.directory}/user1'")
    assert "both [COS_ACCOUNT_1] (line 15) and [COS_ACCOUNT_2]" in directory


def test_all_problems_are_told_at_once_in_the_order_of_the_file(conf: Configuration) -> None:
    lines = conf.refuse(
        "stray = 1\n",
        conf.account(0, authority="X", home_dir="/nowhere"),
        conf.account(1, ftp_login_user_name="user0", cos_bucket=None),
        "[NETWORK]\nlisten_port = x\nbroken line\n",
    )
    assert [line.partition(":")[0] for line in lines] == ["1", "7", "10", "11", "16", "20", "21"]


def test_a_file_without_accounts(conf: Configuration) -> None:
    (line,) = conf.refuse("[NETWORK]\n")
    assert "has no [COS_ACCOUNT_0] section" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[NETWORK]\nlisten_prot = 1", "unknown key, ignored; did you mean listen_port?"),
        ("[NETWORK]\nsomething = 1", "[NETWORK] something: unknown key, ignored"),
        ("[OPTIONAL]\nlisten_port = 1", "unknown key here, ignored; it belongs into [NETWORK]"),
        ("[NETWORK]\nauthority = R", "ignored; it belongs into [COS_ACCOUNT_…]"),
        ("[NETWROK]\nlisten_port = x", "unknown section, ignored; did you mean NETWORK?"),
        ("[COS_ACOUNT_1]", "unknown section, ignored; did you mean COS_ACCOUNT_0?"),
    ],
)
def test_what_is_unknown_is_a_warning(conf: Configuration, text: str, words: str) -> None:
    _, (warning,) = conf.load_with_warnings(conf.account(), text)
    assert warning.startswith("file:1")
    assert words in warning


def test_one_bucket_at_two_addresses_is_a_warning(conf: Configuration) -> None:
    """What these accounts change the other does not see."""
    _, (warning,) = conf.load_with_warnings(
        conf.account(0, cos_region="ap-beijing"),
        conf.account(1, cos_region="ap-beijing"),
        conf.account(2, cos_region=None, cos_endpoint="cos.example.com"),
    )
    assert "[COS_ACCOUNT_2] cos_bucket: 'example-1250000000' is reached at" in warning
    assert "cos.example.com here, at ap-beijing in [COS_ACCOUNT_0]" in warning


@pytest.mark.parametrize(("replaces", "count"), [("false", 1), ("true", 0)])
def test_to_keep_what_may_not_be_replaced_is_a_warning(
    conf: Configuration, replaces: str, count: int
) -> None:
    account = conf.account(overwrite_enable=replaces)
    _, warnings = conf.load_with_warnings(account, "[OPTIONAL]\ninterrupted_upload = keep")
    assert len(warnings) == count
    assert all("overwrite_enable: false does not go with" in warning for warning in warnings)


def test_a_mistyped_key_is_told_beside_the_one_it_leaves_missing(conf: Configuration) -> None:
    missing, mistyped = conf.refuse(conf.account(authority=None, autority="RW"))
    assert "authority: is required" in missing
    assert "unknown key, ignored; did you mean authority?" in mistyped


@pytest.mark.parametrize(
    ("mode", "who"), [(0o644, "every user of this machine"), (0o640, "its group"), (0o600, None)]
)
def test_a_file_that_others_can_read_is_a_warning(
    conf: Configuration, mode: int, who: str | None
) -> None:
    conf.write(conf.account())
    conf.path.chmod(mode)
    words = [warning.message for warning in load_settings(conf.path).warnings]
    mend = f"can read the secrets in it; mend with: chmod 600 {conf.path}"
    assert words == ([f"{who} {mend}"] if who else [])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"copy conf/vsftpd\.conf\.example to it"):
        load_settings(tmp_path / "missing.conf")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)


# Memory


def with_memory(monkeypatch: pytest.MonkeyPatch, available: int | None) -> None:
    monkeypatch.setattr(load, "available_memory", lambda: available)


def test_settings_that_could_need_more_memory_than_there_is(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 2**30)
    text = f"{conf.account()}[OPTIONAL]\nmax_connection_num = 900\nbuffer_memory = 1073741824\n"
    (line,) = conf.refuse(text)
    need = Need(buffer_memory=2**30, connections=900, logins=100).bytes
    assert line.startswith("12: [OPTIONAL] buffer_memory: 1073741824 bytes")
    assert "max_connection_num = 900 and max_login_users = 100" in line
    assert f"could take {need} bytes in all, more than 60% of the {2**30} that are free" in line
    assert "a lower buffer_memory, max_login_users or max_connection_num" in line
    loaded = conf.load(text, "config_check_enable = false\n")
    assert loaded.optional.buffer_memory == 2**30


def test_the_memory_is_checked_although_something_else_is_wrong(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 2**30)
    lines = conf.refuse(conf.account(authority="X"), "[OPTIONAL]\nbuffer_memory = 1073741824\n")
    assert [line.partition(":")[0] for line in lines] == ["9", "11"]


def test_the_default_buffer_fits_a_small_machine(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 600 * MIB)
    settings, (warning, consequence) = conf.load_with_warnings(conf.account())
    optional = settings.optional
    assert "single_file_max_size: 214748364800 is more than" in consequence
    assert 16 * MIB <= optional.buffer_memory < 256 * MIB
    assert Need(buffer_memory=optional.buffer_memory, connections=512, logins=100).bytes <= (
        360 * MIB
    )
    assert f"set to {optional.buffer_memory} bytes instead of 268435456" in warning


def test_a_machine_that_is_too_small(conf: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 128 * MIB)
    (line,) = conf.refuse(conf.account())
    assert "[OPTIONAL] buffer_memory: 268435456 bytes" in line


def test_a_machine_that_does_not_say_how_much_memory_it_has(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, None)
    assert conf.load(conf.account()).optional.buffer_memory == 256 * MIB


def test_memory_may_be_left_out_of_account(
    conf: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 1)
    conf.write(conf.account())
    assert load_settings(conf.path, at_start=False).warnings == ()


def test_parts_larger_than_the_buffer_memory_are_a_warning(conf: Configuration) -> None:
    """Older files have any size of part; they work with it."""
    _, (warning,) = conf.load_with_warnings(
        conf.account(), "[OPTIONAL]\nmin_part_size = 1073741824\n"
    )
    assert "file:11: [OPTIONAL] min_part_size: 1073741824 is more than buffer_memory" in warning


def test_secrets_are_never_shown(conf: Configuration) -> None:
    loaded = conf.load(conf.account(cos_secretid=f"id{SECRET}"))
    for shown in (repr(loaded), str(loaded), repr(loaded.accounts), str(loaded.accounts[0])):
        assert SECRET not in shown
    assert kept(loaded.accounts[0].cos_secretkey) == SECRET


_KEYS = sorted({*AccountSettings.keys(), *OptionalSettings.keys(), "listen_port", "other"})
_LINES = st.builds(
    "{} = {}".format,
    st.sampled_from(_KEYS),
    st.text(st.characters(exclude_categories=["Cs"])),
) | st.sampled_from(["[COS_ACCOUNT_0]", "[COS_ACCOUNT_1]", "[NETWORK]", "[OPTIONAL]", "x"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_LINES).map("\n".join))
def test_any_file_gives_settings_or_a_config_error(conf: Configuration, text: str) -> None:
    conf.path.write_bytes(text.encode())
    try:
        load_settings(conf.path)
    except ConfigError as refused:
        problems = refused.problems
    else:
        return
    assert problems


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("passive_port = 2000,3000", 11),
        ("listen_port = 60021", 11),
        ("listen_port = 7\npassive_port = 7,9", 12),
        ("listen_port = 7\npassive_port = 8,9", 0),
        ("listen_port = 0\npassive_port = 8,9", 0),
    ],
)
def test_passive_ports_with_the_listening_one_among_them(
    conf: Configuration, network: str, line: int
) -> None:
    _, warnings = conf.load_with_warnings(conf.account(), f"[NETWORK]\n{network}\n")
    assert [warning.partition(" contains listen_port")[1] != "" for warning in warnings] == [
        True
    ] * bool(line)
    assert all(warning.startswith(f"file:{line}: [NETWORK] passive_port: ") for warning in warnings)


class TestLogDirectory:
    def warnings(self, conf: Configuration, directory: Path) -> list[str]:
        _, warnings = conf.load_with_warnings(
            conf.account(), f"[OPTIONAL]\nlog_dir = {directory}\n"
        )
        return warnings

    def test_one_that_can_be_made_is_not(self, conf: Configuration, tmp_path: Path) -> None:
        assert self.warnings(conf, tmp_path / "a" / "b") == []
        assert not (tmp_path / "a").exists()

    def test_one_that_is_there_stays_empty(self, conf: Configuration, tmp_path: Path) -> None:
        (tmp_path / "log").mkdir()
        assert self.warnings(conf, tmp_path / "log") == []
        assert list((tmp_path / "log").iterdir()) == []

    def test_below_a_file(self, conf: Configuration, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (warning,) = self.warnings(conf, tmp_path / "file" / "log")
        assert f"log_dir: '{tmp_path}/file/log' cannot be made or written: Not a dir" in warning

    def test_the_records_of_uploads_are_looked_at_too(
        self, conf: Configuration, tmp_path: Path
    ) -> None:
        (tmp_path / "uploads").touch()
        (warning,) = self.warnings(conf, tmp_path)
        assert f"log_dir: '{tmp_path}/uploads' cannot be" in warning

    def test_it_matters_at_the_start_alone(self, conf: Configuration) -> None:
        conf.write(conf.account() + "[OPTIONAL]\nlog_dir = /proc/x\n")
        assert load_settings(conf.path, at_start=False).warnings == ()

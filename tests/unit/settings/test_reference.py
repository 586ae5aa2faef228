"""The page about the settings is what their declarations say."""

from pathlib import Path

from cos_ftp_server.settings.model import AccountSettings, OptionalSettings
from cos_ftp_server.settings.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: make docs"


def test_every_key_has_a_row_with_its_default() -> None:
    page = reference()
    for key in (*AccountSettings.keys(), *OptionalSettings.keys()):
        assert page.count(f"\n| `{key}` | ") == 1
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[3]
        for line in page.splitlines()
        if "|" in line
    }
    assert rows["delete_enable"] == " `true` "
    assert rows["authority"] == " required "
    assert rows["passive_port"] == " `60000,65535` "
    assert rows["cos_token"] == "  "

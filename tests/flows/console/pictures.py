"""The pictures in docs/console.md, taken anew: ``python -m tests.flows.console.pictures``.

The sample archive after a night with some broken files, and a list that waits for approval.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fwd2bot_core.retention.roles import Role
from infra.installation import Installation, opened
from infra.settings import load_settings
from tasks import people, tokens
from tests.flows.console.browsers import browser, page_of, served, sign_in
from tests.houses import fwd2bot, write_settings
from tests.tasks.dispositions import furnished, listed, put_in_force, serious
from tests.tasks.signers import Signer

DOCS = Path(__file__).parents[3] / "docs"
IMAGE = "/images?key=line-1/2026-11-23/tray-000000.jpg&question=what+is+in+b2%3F"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser() as made:
        _nights_and_an_image(made, Path(folder) / "demo")
        _signing(made, Path(folder) / "site")


def _nights_and_an_image(made: Any, folder: Path) -> None:
    fwd2bot("demo", folder)
    config = folder / "fwd2bot.toml"
    for number in range(3):
        (folder / "photos" / f"broken-{number}.jpg").write_bytes(b"not a photo")
    fwd2bot("night", "--direct", "--config", config, timeout=300)
    with opened(load_settings(config)) as house:
        people.register(house.ledger, "Mika Sato", Signer().public, [Role.AUDITOR])
        with served(house) as address:
            page = _visit(made, house, address, "Mika Sato")
            _take(page, "nights")
            page.goto(address + IMAGE)
            page.get_by_role("button", name="Show the original").click()
            _take(page, "image")


def _signing(made: Any, folder: Path) -> None:
    def build(**sections: Any) -> Installation:
        (folder / "photos").mkdir(parents=True)
        return Installation(load_settings(write_settings(folder / "fwd2bot.toml", **sections)))

    with pytest.MonkeyPatch.context() as patch:
        serious(patch)
        site = furnished(build, 12)
        put_in_force(site)
        list_id = listed(site).id
        with served(site.house) as address:
            page = _visit(made, site.house, address, "Ann")
            page.goto(f"{address}/lists/{list_id}/decide?decision=approve&reason=samples+seen")
            _take(page, "signing")
        site.house.ledger.close()


def _visit(made: Any, house: Installation, address: str, name: str) -> Any:
    page = page_of(made, address)
    page.set_viewport_size({"width": 1000, "height": 720})
    sign_in(page, address, tokens.issue(house.ledger, name, 1).secret)
    return page


def _take(page: Any, name: str) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        few = taken.convert("RGB").quantize(96)  # colours, so that the pictures stay small
    few.save(DOCS / f"console-{name}.png", optimize=True)


if __name__ == "__main__":
    main()

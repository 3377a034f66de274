"""The files of the status page: there, small, and nothing in them that the policy forbids or that comes from elsewhere."""

import re
from pathlib import Path

import pytest

from forwarder.observe import status_page
from tests.lab.pages import Shown, answer

FILES = sorted(file for file in status_page.FOLDER.iterdir())
MAX_OCTETS = 100_000
"""All files together: a phone behind a slow link has it in a second or two."""


def path_for(file: Path) -> str:
    return "/" if file.name == status_page.FRONT else f"/{file.name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_given_as_it_is(file: Path) -> None:
    got = answer(Shown(), path_for(file))
    assert (got.status, got.body) == (200, file.read_bytes())
    assert got.headers["content-type"] == status_page.CONTENT_TYPES[file.suffix]
    assert got.headers["cache-control"] == "no-store"


def test_all_that_it_names_is_there_and_is_named_so_that_a_prefix_may_stand_before_it() -> None:
    front = (status_page.FOLDER / status_page.FRONT).read_text()
    named = set(re.findall(r'(?:href|src)="([^"#]+)"', front))
    files = {file.name for file in FILES}
    assert named - files == {"metrics", "health", "ready", "api/", "api/overview"}
    imported = {name for file in FILES for name in re.findall(r' from "\./([^"]+)"', file.read_text())}
    assert {*named, *imported} >= files - {status_page.FRONT}, "no file that nobody asks for"
    assert imported <= files


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    forbidden = r"https?:|<style|\sstyle=|<script(?! type=\"module\" src=)|\son\w+=|@import|url\("
    assert re.findall(forbidden, text) == []


def test_no_text_becomes_markup() -> None:
    text = "".join(file.read_text() for file in FILES if file.suffix == ".js")
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser|createContextual", text) == []


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FILES) < MAX_OCTETS

"""Files: uploaded, attached once by who sent them, handed only to who may see the message."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from adapters.files import DiskStore, FileTooLarge
from models.session import Database
from services import files
from services.words import sanitised, text_of, words
from tests.api.conftest import House, MakeHouse

UPLOADS, PUBLIC = "/api/v1/attachments", "/public/v1"
Client = httpx.AsyncClient


async def upload(
    client: Client,
    headers: dict[str, str],
    content: bytes = b"hello",
    *,
    name: str = "notes.txt",
    kind: str = "text/plain",
    path: str = UPLOADS,
) -> httpx.Response:
    return await client.post(path, files={"file": (name, content, kind)}, headers=headers)


async def ticket(client: Client, house: House) -> dict[str, object]:
    body = {"subject": "Hi", "text": "Hi", "email": "mia@example.org"}
    answer = await client.post(f"{PUBLIC}/{house.slug}/tickets", json=body)
    made: dict[str, object] = answer.json()
    return made


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files go to a folder of the test's own."""
    kept = files.Files(DiskStore(tmp_path))
    monkeypatch.setattr(files, "files_under", lambda home: kept)
    return tmp_path


def on_disk(place: Path) -> list[Path]:
    return [p for p in place.rglob("*") if p.is_file()]


async def test_a_file_goes_with_the_answer_that_names_it_and_comes_back_whole(
    client: Client, house: House
) -> None:
    content = bytes(range(256)) * 9000  # more than two chunks
    uploaded = await upload(client, house.agent, content, name="Bericht ü.pdf",
                            kind="application/pdf")  # fmt: skip
    assert uploaded.status_code == 201
    file = uploaded.json()
    assert (file["size_bytes"], file["filename"]) == (len(content), "Bericht ü.pdf")
    made = await ticket(client, house)
    body = {"text": "See the file", "attachments": [file["id"]]}
    where = f"/api/v1/tickets/{made['number']}/replies"
    assert (await client.post(where, json=body, headers=house.agent)).status_code == 201

    for path, headers in (
        (f"{UPLOADS}/{file['id']}", house.admin),
        (f"{PUBLIC}/tickets/{made['link']}/attachments/{file['id']}", {}),
    ):
        got = await client.get(path, headers=headers)
        assert got.content == content
        assert got.headers["content-type"] == "application/pdf"
        disposition = got.headers["content-disposition"]
        assert disposition.startswith('attachment; filename="Bericht _.pdf"')
        assert "filename*=UTF-8''Bericht%20%C3%BC.pdf" in disposition
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]
    again = await client.post(where, json=body, headers=house.agent)
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "/attachments/0")


async def test_only_who_uploaded_a_file_attaches_it(client: Client, make_house: MakeHouse) -> None:
    house, foreign = await make_house(), await make_house()
    file = (await upload(client, house.agent)).json()
    body = {"text": "Mine?", "attachments": [file["id"]]}
    for other in (house, foreign):
        made = await ticket(client, other)
        answer = await client.post(
            f"/api/v1/tickets/{made['number']}/replies", json=body, headers=other.admin
        )
        assert answer.status_code == 422
        link = f"{PUBLIC}/tickets/{made['link']}"
        assert (await client.post(f"{link}/replies", json=body)).status_code == 422
        assert (await client.get(f"{link}/attachments/{file['id']}")).status_code == 404
    where = f"{UPLOADS}/{file['id']}"
    assert (await client.get(where, headers=house.agent)).status_code == 200
    for headers, status in ((house.admin, 404), (foreign.agent, 404), ({}, 401),
                            (house.intake, 403)):  # fmt: skip
        assert (await client.get(where, headers=headers)).status_code == status


async def test_files_of_notes_and_of_tickets_out_of_reach_stay_hidden(
    client: Client, house: House, database: Database
) -> None:
    made = await ticket(client, house)
    file = (await upload(client, house.admin)).json()
    body = {"text": "Internal", "attachments": [file["id"]]}
    await client.post(f"/api/v1/tickets/{made['number']}/notes", json=body, headers=house.admin)
    hidden = await client.get(f"{PUBLIC}/tickets/{made['link']}/attachments/{file['id']}")
    assert hidden.status_code == 404
    where = f"{UPLOADS}/{file['id']}"
    assert (await client.get(where, headers=house.agent)).status_code == 200
    async with database.transaction(house.tenant_id) as work:
        team = uuid.uuid4()
        await work.execute(
            "insert into teams (tenant_id, id, name, created_at) values (:t, :id, 'Else', now())",
            {"t": house.tenant_id, "id": team},
        )
        await work.execute(
            "update tickets set team_id = :team where tenant_id = :t",
            {"t": house.tenant_id, "team": team},
        )
    assert (await client.get(where, headers=house.agent)).status_code == 404


async def test_a_customer_sends_a_file_through_their_link(client: Client, house: House) -> None:
    made, other = await ticket(client, house), await ticket(client, house)
    link = f"{PUBLIC}/tickets/{made['link']}"
    file = (await upload(client, {}, path=f"{link}/attachments")).json()
    body = {"attachments": [file["id"]]}
    wrong = f"{PUBLIC}/tickets/{other['link']}/replies"
    assert (await client.post(wrong, json=body)).status_code == 422
    assert (await client.post(f"{link}/replies", json=body)).status_code == 201
    seen = (await client.get(link)).json()
    assert seen["messages"][-1]["attachments"] == [file]
    assert (await client.get(f"{UPLOADS}/{file['id']}", headers=house.agent)).content == b"hello"


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/xhtml+xml; charset=utf-8", "application/octet-stream"),
        ("text/html\r\nX-Evil: 1", "application/octet-stream"),
        ("image/png", "image/png"),
        ("", "application/octet-stream"),
    ],
)
async def test_nothing_is_sent_as_a_type_that_a_browser_would_run(kind: str, sent: str) -> None:
    assert files.shown_type(files.clean_type(kind)) == sent


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("in\u202evoice.exe\n", "invoice.exe"),
        ("..", "file"),
        ("", "file"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_name_is_the_last_part_of_what_was_said(given: str, kept: str) -> None:
    assert files.clean_filename(given) == kept


async def test_the_same_bytes_are_kept_once_per_tenant(
    client: Client, make_house: MakeHouse, place: Path
) -> None:
    house, foreign = await make_house(), await make_house()
    for headers in (house.agent, house.admin, foreign.agent):
        assert (await upload(client, headers, b"same")).status_code == 201
    kept = on_disk(place)
    assert [p.name for p in kept] == [hashlib.sha256(b"same").hexdigest()] * 2
    assert len({p.parts[-3] for p in kept}) == 2


async def test_a_file_too_large_leaves_nothing(
    client: Client, house: House, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_BYTES", 1000)
    answer = await upload(client, house.agent, b"x" * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, FileTooLarge.code)
    assert on_disk(place) == []
    assert (await upload(client, house.agent, b"x" * 1000)).status_code == 201


async def test_a_file_is_whole_in_its_place_before_its_row_is_committed(
    house: House, database: Database, place: Path
) -> None:
    """A crash between the two leaves bytes nobody refers to, never a row without its bytes."""
    store = files.Files(DiskStore(place))

    async def chunks() -> AsyncIterator[bytes]:
        yield b"bytes"

    async def crash() -> None:
        async with database.transaction(house.tenant_id) as work:
            await store.upload(
                work, filename="a", content_type=None, chunks=chunks(),
                uploaded_by="user:x", now=datetime.now(UTC),
            )  # fmt: skip
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await crash()
    assert [p.read_bytes() for p in on_disk(place)] == [b"bytes"]


async def test_a_store_that_breaks_off_keeps_nothing(place: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await DiskStore(place).keep(uuid.uuid4(), broken(), limit_bytes=99)
    assert on_disk(place) == []


async def test_bytes_that_are_gone_answer_404(client: Client, house: House, place: Path) -> None:
    file = (await upload(client, house.agent)).json()
    on_disk(place)[0].unlink()
    answer = await client.get(f"{UPLOADS}/{file['id']}", headers=house.agent)
    assert (answer.status_code, answer.json()["code"]) == (404, "file_missing")


# Words.


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<script>alert(1)</script>", None),
        ("<img src=x onerror=alert(1)>", None),
        ("<svg><script>x</script></svg>", None),
        ("<p style='position:fixed' class=x onclick=y id=z>Hi</p>", "<p>Hi</p>"),
        ("<a href='javascript:alert(1)'>x</a>", '<a rel="noopener noreferrer nofollow">x</a>'),
        (
            "<a href='https://x.example' target=_top>x</a>",
            '<a href="https://x.example" rel="noopener noreferrer nofollow">x</a>',
        ),
        ("<form action=/x><input name=y>Hi</form>", "Hi"),
        ("<style>p{}</style><p>Hi\x00</p>", "<p>Hi</p>"),
        ("<math><mtext><style><img src=x onerror=y></style></mtext></math>", None),
    ],
)
def test_html_keeps_words_and_loses_what_runs_loads_or_styles(html: str, clean: str | None) -> None:
    assert sanitised(html) == clean


def test_text_is_drawn_from_html_line_by_line() -> None:
    html = (
        "<p>Hello <b>you</b>,</p><p>see:</p><ul><li>one</li><li>two &amp; more</li></ul>"
        "<pre>a\n  b</pre>bye<br>now"
    )
    assert text_of(html) == "Hello you,\n\nsee:\n\n- one\n- two & more\na\nb\nbye\nnow"


def test_given_text_wins_over_html_and_nul_is_dropped() -> None:
    said = words("a\x00b\r\nc ", "<p>other</p>")
    assert (said.text, said.html) == ("ab\nc", "<p>other</p>")

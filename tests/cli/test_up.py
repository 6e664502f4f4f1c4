"""A whole desk from the command line: up, in use, examined, down, up again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent
TICKETS = 30


class Cli:
    """`holdfast` on one home, as a script calls it."""

    def __init__(self, home: Path) -> None:
        # Nothing of the tests' own environment may lead it to another desk.
        passed = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
        self._environment = {name: os.environ[name] for name in passed if name in os.environ}
        self._environment["HOLDFAST_HOME"] = str(home)

    def __call__(self, *arguments: str, code: int = 0, sent: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            env=self._environment,
            input=sent,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self(*arguments, "--json", code=code))
        return answer


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cli = Cli(tmp_path_factory.mktemp("desk") / "home")
    yield cli
    cli("down")


@pytest.fixture(scope="module")
def report(cli: Cli) -> dict[str, object]:
    return cli.json("up", "--detach")


def answered(url: str) -> str:
    """The page, once it is served: the worker is not waited for at the start."""
    late = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url).raise_for_status().text
        except httpx.TransportError:
            assert time.monotonic() < late, f"{url} is not served"
            time.sleep(0.2)


def test_up_answers_with_addresses_that_work(cli: Cli, report: dict[str, object]) -> None:
    for name in ("temporal_address", "database_url", "redis_url"):
        assert report[name]
    assert httpx.get(f"{report['api']}/docs").status_code == 200
    assert httpx.get(str(report["temporal_ui"])).status_code == 200
    status = cli.json("status")
    assert status["healthy"] is True
    services = status["services"]
    assert isinstance(services, dict)
    assert services["worker"]["address"] == report["worker_metrics"]
    for name, metric in (("api", "http_requests_total"), ("worker", "outbox_lag_seconds")):
        assert metric in answered(str(report[f"{name}_metrics"]))


def test_every_login_that_is_printed_works(report: dict[str, object]) -> None:
    known = report["logins"]
    assert isinstance(known, list)
    assert {one["role"] for one in known} == {"admin", "supervisor", "agent", "viewer"}
    for one in known:
        body = {name: one[name] for name in ("tenant", "email", "password")}
        answered = httpx.post(f"{report['api']}/api/v1/auth/login", json=body)
        assert answered.status_code == 200, answered.text


def test_customers_tickets_are_all_dealt_with(
    cli: Cli, report: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "tickets.jsonl"
    with file.open("w") as lines:
        for number in range(TICKETS):
            ticket = {
                "external_id": f"N{number}",
                "requester": {"email": f"kim{number % 5}@mail.example", "name": "Kim"},
                "channel": ("email", "portal", "chat", "api")[number % 4],
                "subject": "" if number == 7 else "My password does not work",
                "body": "I cannot sign in.\\n\\nThe reset mail never arrives.",
                "language": "en",
            }
            lines.write(json.dumps(ticket) + "\n")
    told = cli.json("demo", "--from", str(file), "--concurrency", "4")
    assert told["errors"] == []
    assert told["accepted"] == told["workflows"] == told["triaged"] == TICKETS
    assert told["breached"] == 0
    for name in ("p50_ms", "p99_ms"):
        assert isinstance(told[name], float)

    again = cli.json("demo", "--from", str(file), "--limit", "3")
    assert again["accepted"] == again["workflows"] == 3


def test_the_doctor_finds_nothing_and_the_chain_adds_up(
    cli: Cli, report: dict[str, object]
) -> None:
    examined = cli.json("doctor")
    assert examined["sound"] is True
    findings = examined["findings"]
    assert isinstance(findings, list)
    assert {"schema", "application role", "worker", "workflows", "disk"} <= {
        one["subject"] for one in findings
    }
    assert cli.json("audit", "verify", "--tenant", "demo")["sound"] is True


def test_an_operator_makes_tenants_people_and_tokens(cli: Cli, report: dict[str, object]) -> None:
    founded = cli.json("tenant", "create", "acme", "--email", "ada@acme.example")
    bo = ("--tenant", "acme", "--email", "bo@acme.example", "--name", "Bo")
    person = cli.json("user", "create", *bo)
    for one in (founded, person):
        body = {"tenant": "acme", "email": one["email"], "password": one["password"]}
        answered = httpx.post(f"{report['api']}/api/v1/auth/login", json=body)
        assert answered.status_code == 200
    cli("user", "create", *bo, code=1)
    cy = ("--tenant", "acme", "--email", "cy@acme.example", "--name", "Cy", "--password-stdin")
    given = "four tired geese sing"
    told = cli("user", "create", *cy, "--json", sent=f"{given}\n")
    assert given not in told
    body = {"tenant": "acme", "email": "cy@acme.example", "password": given}
    assert httpx.post(f"{report['api']}/api/v1/auth/login", json=body).status_code == 200

    made = cli.json("token", "create", "--tenant", "acme", "--name", "shop", "--expires", "30")
    left = datetime.fromisoformat(str(made["expires_at"])) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    token = made["token"]
    submitted = httpx.post(
        f"{report['api']}/public/v1/tickets",
        headers={"Authorization": f"Bearer {token}"},
        json={"subject": "Hi", "text": "Hello", "requester": {"email": "eve@mail.example"}},
    )
    assert submitted.status_code == 201, submitted.text


def test_index_and_workflows_are_made_anew_while_the_desk_runs(
    cli: Cli, report: dict[str, object]
) -> None:
    filled = cli.json("rebuild", "index")["tickets"]
    assert isinstance(filled, int)
    assert filled >= 41
    woken = cli.json("rebuild", "workflows", "--all")["tickets"]
    assert isinstance(woken, int)
    assert woken >= 30


def test_the_second_start_is_soon_and_everything_is_still_there(
    cli: Cli, report: dict[str, object]
) -> None:
    assert cli.json("down") == {"stopped": True}
    cli.json("status", code=1)
    began = time.monotonic()
    again = cli.json("up", "--detach")
    elapsed = time.monotonic() - began
    sys.stderr.write(f"\nsecond start: {elapsed:.1f} s\n")
    # The aim is 15 s on an idle machine; a test must not fail because others use it, too.
    assert elapsed < 60
    assert again["logins"] == report["logins"]
    assert again["database_url"] == report["database_url"]

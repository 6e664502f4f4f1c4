"""docker-compose.yml and the Dockerfile, held against Settings and the code, without an engine."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from psycopg.conninfo import make_conninfo
from pydantic import AliasChoices

import migrations
from settings import Settings
from stack.desk import Desk
from stack.home import Home
from stack.postgres import binaries

ROOT = Path(__file__).resolve().parent.parent
OURS = ("migrate", "api", "worker")
ONE_SHOT = {"bootstrap", "migrate", "temporal-schema", "temporal-namespace"}
# What keeps something that nobody can make anew, or that takes long to; by its volume.
KEEPS = {
    "postgres": "postgres",
    "temporal-postgres": "temporal-postgres",
    "valkey": "valkey",
    "typesense": "typesense",
    "api": "desk",
    "worker": "desk",
    "mailpit": "mailpit",
    "prometheus": "prometheus",
    "grafana": "grafana",
}
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:?[-?])([^}]*))?\}")

Service = Mapping[str, Any]


@cache
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return parsed


def services() -> dict[str, Service]:
    found: dict[str, Service] = compose()["services"]
    return found


def environment_names() -> dict[str, bool]:
    """Each variable that Settings reads, and whether it must be there."""
    names: dict[str, bool] = {}
    for field in Settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        for choice in field.validation_alias.choices:
            names[str(choice)] = field.is_required()
    return names


def environment_file(path: Path) -> dict[str, str]:
    lines = path.read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for part in value.values():
                yield from strings(part)
        case list():
            for part in value:
                yield from strings(part)


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """As Compose would: refuses what is asked for with `:?` and missing."""

    def value(found: re.Match[str]) -> str:
        name, how, rest = found.groups()
        if values.get(name):
            return values[name]
        if how == ":?":
            raise LookupError(rest)
        return rest or ""

    return _VARIABLE.sub(value, text)


def test_our_programs_are_given_what_settings_know_and_all_they_need() -> None:
    known = environment_names()
    needed = {name for name, required in known.items() if required}
    for name in OURS:
        given = set(services()[name]["environment"])
        assert given <= set(known), f"{name}: {given - set(known)} is no setting"
        assert needed <= given, f"{name} lacks {needed - given}"


@pytest.mark.parametrize("name", OURS)
def test_with_the_development_file_settings_are_complete_and_valid(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = environment_file(ROOT / "deploy" / "development.env")
    for variable in environment_names():
        monkeypatch.delenv(variable, raising=False)
    for variable, text in services()[name]["environment"].items():
        monkeypatch.setenv(variable, filled_in(text, values))
    settings = Settings()
    assert settings.database_url.get_secret_value().startswith("postgresql://holdfast_app:")
    # Each program holds the passwords it uses, and no other.
    assert (settings.migration_database_url is not None) == (name == "migrate")
    assert (settings.relay_database_url is not None) == (name in ("migrate", "worker"))
    assert settings.home == Path("/data")


def test_secrets_are_never_written_down_and_never_have_a_default() -> None:
    secret = re.compile(r"PASSWORD|SECRET|API_KEY|_PWD")
    asked = 0
    for name, service in services().items():
        for variable, text in service.get("environment", {}).items():
            if not secret.search(variable) or variable.endswith("__FILE"):
                continue
            asked += 1
            found = _VARIABLE.fullmatch(text)
            assert found, f"{name}: {variable} is written down"
            assert found[2] == ":?", f"{name}: {variable} has a default"
    assert asked >= 10
    for text in strings(compose()):
        for variable, how, sentence in _VARIABLE.findall(text):
            if secret.search(variable):
                assert how == ":?", f"{variable} may be missing: {text}"
            if how == ":?":
                assert sentence.endswith("."), f"{variable} is asked for without a sentence"


def test_without_a_secret_compose_refuses_with_a_sentence() -> None:
    values = environment_file(ROOT / "deploy" / "development.env")
    for missing in ("POSTGRES_APP_PASSWORD", "HOLDFAST_SECRET_KEY", "VALKEY_PASSWORD"):
        rest = {name: value for name, value in values.items() if name != missing}
        with pytest.raises(LookupError, match="Set the"):
            filled_in("\n".join(strings(services())), rest)


def test_the_example_names_every_variable_and_gives_no_secret_away() -> None:
    asked = {found[1] for text in strings(compose()) for found in _VARIABLE.finditer(text)}
    asked |= {s["environment"] for s in compose()["secrets"].values()}
    example = (ROOT / "deploy" / "example.env").read_text("utf-8")
    named = set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z_]+)=", example))
    assert named == asked
    assert not any(environment_file(ROOT / "deploy" / "example.env").values())
    development = (ROOT / "deploy" / "development.env").read_text("utf-8")
    assert development.startswith("# DEVELOPMENT ONLY.")


def test_every_service_says_whether_it_is_well_or_ends() -> None:
    for name, service in services().items():
        if name in ONE_SHOT:
            assert service["restart"] == "no", name
        else:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_dependencies_are_waited_for_until_they_are_well_or_done() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted, f"{name} on {other}"
    for name in ("api", "worker"):
        assert "migrate" in services()[name]["depends_on"]
    # Law 9: what the desk works without may not keep it from starting.
    assert not {"typesense", "valkey", "temporal"} & set(services()["api"]["depends_on"])


def test_ports_are_published_on_the_loopback_only_and_temporals_not_at_all() -> None:
    for name, service in services().items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
    for name in ("temporal", "postgres", "temporal-postgres", "valkey", "typesense"):
        assert "ports" not in services()[name], name


def test_whatever_keeps_something_has_a_named_volume() -> None:
    named = set(compose()["volumes"])
    assert named == set(KEEPS.values())
    for name, volume in KEEPS.items():
        mounts = [v.split(":")[0] for v in services()[name]["volumes"]]
        assert volume in mounts, name
    # PostgreSQL 18's image keeps its cluster in a folder per version below this one.
    assert "postgres:/var/lib/postgresql" in services()["postgres"]["volumes"]


def test_files_that_are_mounted_exist() -> None:
    mounted = [
        volume.split(":")[0]
        for service in services().values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert mounted
    for path in mounted:
        assert (ROOT / path).exists(), path


def test_each_image_is_named_once_with_a_version_and_without_a_registry() -> None:
    images = compose()["x-images"]
    used = {service["image"] for service in services().values()}
    assert used == set(images.values())
    for image in images.values():
        repository, _, tag = image.partition(":")
        assert re.search(r"\d", tag), image
        assert tag != "latest"
        assert "." not in repository.split("/")[0], f"{image} names a registry"
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    for image in images.values():
        assert text.count(image) == 1, image
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert images["holdfast"] == f"holdfast:{version}"
    assert re.search(r"^ARG PYTHON=python:3\.1[2-9]-slim", dockerfile, re.MULTILINE)


def test_our_containers_run_without_root_and_cannot_write_their_own_code() -> None:
    for name in OURS:
        service = services()[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    last = (ROOT / "Dockerfile").read_text("utf-8").rpartition("FROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)


def test_the_image_is_built_from_every_package_that_the_wheel_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packaged = set(project["tool"]["hatch"]["build"]["only-include"])
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        copied |= set(line.split())
    tools = {"pyproject.toml", "requirements.lock", "README.md", "deploy/pins.py"}
    assert copied == packaged | tools
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_programs_in_the_image_start_as_the_supervisor_starts_them() -> None:
    from stack.desk import api_and_worker

    programs = {p.name: p for p in api_and_worker({"HOLDFAST_API_PORT": "8080"})}
    assert services()["worker"]["command"] == ["python", *programs["worker"].arguments[1:]]
    started = [word.split("=")[0] for word in services()["api"]["command"]]
    for word in programs["api"].arguments:
        if word.startswith("--"):
            assert word in started, word
    assert "api.app:create_app" in started


def test_pins_are_the_lock_with_extras_and_nothing_of_the_embedded_servers() -> None:
    printed = subprocess.run(
        [sys.executable, "-I", str(ROOT / "deploy" / "pins.py")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {
        canonicalize_name(r.name): r.extras for r in map(Requirement, project["dependencies"])
    }
    blocks = re.split(r"(?m)^(?=[a-z0-9])", printed)
    got = {
        canonicalize_name(r.name): r.extras
        for r in (Requirement(b.splitlines()[0].rstrip(" \\")) for b in blocks if b)
    }
    assert got == wanted
    assert all("--hash=sha256:" in block for block in blocks if block)
    unknown = subprocess.run(
        [sys.executable, "-I", str(ROOT / "deploy" / "pins.py"), "no-such-thing"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert unknown.returncode == 1
    assert unknown.stderr.strip() == "no-such-thing is not in requirements.lock"


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    source = "".join(
        path.read_text("utf-8")
        for folder in ("api", "services", "adapters", "activities")
        for path in (ROOT / folder).rglob("*.py")
    )
    known = set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(\w+)"', source))
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))
    asked = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    board = json.loads((ROOT / "deploy/grafana/dashboards/holdfast.json").read_text("utf-8"))
    asked += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for expression in asked:
        names = re.findall(r"\b((?:outbox|http|timer|deliveries|triage|audit)_\w+)", expression)
        assert names or "up{" in expression, expression
        for name in names:
            assert name.removesuffix("_bucket") in known, name


@pytest.mark.stack
async def test_the_bootstrap_makes_roles_and_database_and_changes_passwords(tmp_path: Path) -> None:
    """The script of the one-shot service, run by a real psql against a server that has nothing."""
    elsewhere = {
        "REDIS_URL": "redis://127.0.0.1:1", "TYPESENSE_URL": "http://127.0.0.1:1",
        "TYPESENSE_API_KEY": "none", "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }  # fmt: skip
    async with Desk(
        Home(tmp_path / "home"), environment={**os.environ, **elsewhere}, programs=lambda _: ()
    ) as desk:
        await desk.start_servers()
        assert desk.superuser_url is not None
        with psycopg.connect(desk.superuser_url, autocommit=True) as connection:
            connection.execute("drop database holdfast")
            for role in ("owner", "app", "relay", "lookup"):
                connection.execute(f"drop role holdfast_{role}".encode())
            where = connection.info

            def bootstrap(word: str) -> None:
                subprocess.run(
                    ["bash", str(ROOT / "deploy/postgres/bootstrap.sh")],
                    env={
                        "PATH": f"{binaries()}:{os.environ['PATH']}",
                        "SQL_FOLDER": str(ROOT / "stack"),
                        "PGHOST": where.host, "PGPORT": str(where.port), "PGUSER": "postgres",
                        "PGPASSWORD": where.password, "OWNER_PASSWORD": f"{word}-owner",
                        "APP_PASSWORD": f"{word}-app", "RELAY_PASSWORD": f"{word}-relay",
                    },
                    check=True, capture_output=True, text=True, timeout=60,
                )  # fmt: skip

            def url(role: str, word: str) -> str:
                return make_conninfo(
                    host=where.host, port=where.port, dbname="holdfast",
                    user=f"holdfast_{role}", password=f"{word}-{role}",
                )  # fmt: skip

            bootstrap("first")
            migrations.upgrade(
                f"postgresql://holdfast_owner:first-owner@{where.host}:{where.port}/holdfast"
            )
            bootstrap("second")
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url("app", "first"))
            for role, table in (("app", "tickets"), ("relay", "outbox")):
                with psycopg.connect(url(role, "second")) as own:
                    assert own.execute(f"select count(*) from {table}".encode()).fetchone() == (0,)

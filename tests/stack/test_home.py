"""The folder, its secrets, its lock, and the ports."""

import os
import socket
from pathlib import Path

import pytest

from stack.home import AlreadyRunning, Home, write_privately
from stack.ports import Ports, is_free
from stack.processes import StackError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "with space" / "home")
    home.create()
    return home


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_and_its_secrets_are_for_their_owner_alone(home: Home) -> None:
    home.secrets()
    assert mode(home.path) == 0o700
    assert {mode(folder) for folder in home.path.iterdir() if folder.is_dir()} == {0o700}
    assert mode(home.secrets_file) == 0o600


def test_a_home_leaves_the_mode_of_its_parent_alone(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    parent.chmod(0o755)
    Home(parent / "home").create()
    assert mode(parent) == 0o755


def test_secrets_stay_the_same_and_new_ones_are_filled_in(home: Home) -> None:
    first = home.secrets()
    assert home.secrets() == first
    assert len(first.holdfast_secret_key) >= 32
    assert len(set(first.model_dump().values())) == len(type(first).model_fields)

    write_privately(home.secrets_file, '{"valkey": "kept"}')
    later = home.secrets()
    assert later.valkey == "kept"
    assert home.secrets() == later


def test_damaged_secrets_are_refused_and_not_overwritten(home: Home) -> None:
    write_privately(home.secrets_file, '{"valkey": ')
    with pytest.raises(StackError, match="damaged"):
        home.secrets()
    assert home.secrets_file.read_text() == '{"valkey": '


def test_a_second_lock_is_refused_until_the_first_is_closed(home: Home) -> None:
    first = home.lock()
    with pytest.raises(AlreadyRunning, match="holdfast down"):
        home.lock()
    os.close(first)
    os.close(home.lock())


def test_a_busy_port_is_replaced_and_the_replacement_remembered() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        assert not is_free(busy)
        ports = Ports({})
        port, given_up = ports.take("postgres", busy)
        assert given_up == busy
        assert port != busy
        assert is_free(port)
    ports.release()
    # Free again, but the desk's addresses should not change without need.
    assert Ports(ports.remembered).take("postgres", busy) == (port, None)


def test_no_port_is_handed_out_twice() -> None:
    ports = Ports({"one": 15432, "two": 15432})
    first, _ = ports.take("one", 15432)
    second, _ = ports.take("two", 15432)
    assert first != second


def test_two_desks_that_start_together_are_handed_different_ports() -> None:
    first, second = Ports({}), Ports({})
    port, _ = first.take("api", 15433)
    # Nobody listens yet, and the port is taken all the same.
    assert is_free(port)
    assert second.take("api", port)[0] != port
    first.release()
    assert Ports({}).take("api", port)[0] == port

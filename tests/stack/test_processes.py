"""Children that are watched, with tiny programs instead of servers."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from stack.processes import Child, Command, Died, Identity, NotReady, StackError, TooSlow, end

pytestmark = pytest.mark.slow  # children take their time

Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def child(script: str, **options: object) -> Child:
        arguments = (sys.executable, "-I", "-S", "-c", textwrap.dedent(script))
        command = Command(arguments, tmp_path, {"PATH": os.defpath})
        return Child("tiny", lambda: command, tmp_path / "tiny.log", **options)  # type: ignore[arg-type]

    return child


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def probe_for(path: Path) -> Callable[[], None]:
    def probe() -> None:
        if not path.exists():
            raise NotReady("it has not written its file")

    return probe


async def test_a_killed_child_is_started_again_and_counted(make: Make) -> None:
    child = make("import time; time.sleep(60)")
    await child.start()
    try:
        assert child.identity is not None
        first = child.identity
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: child.restarts == 1 and child.status == "ready")
        assert child.identity != first
    finally:
        await child.stop()
    assert child.identity is None
    assert not first.is_alive()


async def test_a_child_that_keeps_ending_is_started_ever_more_slowly(make: Make) -> None:
    sentences: list[str] = []
    child = make("raise SystemExit(3)", report=sentences.append)
    await child.start()
    await until(lambda: len([one for one in sentences if "starting again" in one]) >= 4)
    await child.stop()
    delays = [one.split("again in ")[1] for one in sentences if "starting again" in one]
    assert delays[:4] == ["0.2 s", "0.4 s", "0.8 s", "1.6 s"]
    assert sentences[0].startswith("ended with code 3")


async def test_a_child_that_ends_while_starting_shows_the_end_of_its_log(
    make: Make, tmp_path: Path
) -> None:
    child = make("print('the disk is full'); raise SystemExit(1)", probe=probe_for(tmp_path / "no"))
    with pytest.raises(Died, match="the disk is full"):
        await child.start()
    assert child.status == "stopped"


async def test_a_child_that_never_answers_is_given_up_and_ended(make: Make, tmp_path: Path) -> None:
    seen: list[Identity] = []
    child: Child = make(
        "import time; time.sleep(60)",
        probe=probe_for(tmp_path / "no"),
        changed=lambda: seen.extend([child.identity] if child.identity else []),
    )
    with pytest.raises(TooSlow, match="has not written its file"):
        await child.start(within=timedelta(seconds=0.2))
    assert seen
    assert not seen[0].is_alive()


async def test_somebody_elses_answer_on_our_port_does_not_make_a_child_ready(make: Make) -> None:
    child = make("import time; time.sleep(60)", probe=lambda: None, listening=(1,))
    with pytest.raises(TooSlow, match="does not listen on port 1"):
        await child.start(within=timedelta(seconds=0.2))


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(
    make: Make, tmp_path: Path
) -> None:
    sentences: list[str] = []
    child = make(
        """
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path("ready").touch()
        time.sleep(60)
        """,
        probe=probe_for(tmp_path / "ready"),
        grace=timedelta(seconds=0.3),
        report=sentences.append,
    )
    await child.start()
    identity = child.identity
    await child.stop()
    assert identity is not None
    assert not identity.is_alive()
    assert any("killed" in one for one in sentences)


async def test_what_a_child_started_ends_with_it(make: Make, tmp_path: Path) -> None:
    child = make(
        """
        import pathlib, subprocess, time
        grandchild = subprocess.Popen(["sleep", "60"])
        pathlib.Path("pid.new").write_text(str(grandchild.pid))
        pathlib.Path("pid.new").rename("pid")
        time.sleep(60)
        """,
        probe=probe_for(tmp_path / "pid"),
    )
    await child.start()
    grandchild = Identity.of(int((tmp_path / "pid").read_text()))
    assert grandchild is not None
    assert grandchild.is_alive()
    await child.stop()
    await until(lambda: not grandchild.is_alive())


async def test_a_child_is_in_a_session_of_its_own(make: Make) -> None:
    child = make("import time; time.sleep(60)")
    await child.start()
    try:
        assert child.identity is not None
        assert os.getsid(child.identity.pid) == child.identity.pid
    finally:
        await child.stop()


async def test_a_failing_preparation_is_tried_again(make: Make) -> None:
    child = make("import time; time.sleep(60)")
    await child.start()
    working = child.prepare
    failures: list[int] = []

    def prepare() -> Command:
        if not failures:
            failures.append(1)
            raise StackError("the folder is gone")
        return working()

    child.prepare = prepare
    try:
        assert child.identity is not None
        os.kill(child.identity.pid, signal.SIGKILL)
        await until(lambda: child.restarts == 2 and child.status == "ready")
    finally:
        await child.stop()


async def test_a_log_that_grew_too_large_is_put_aside(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "tiny.log"
    with log.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    child = make("print('fresh', flush=True); import time; time.sleep(60)")
    await child.start()
    await until(lambda: log.read_text() == "fresh\n")
    await child.stop()
    assert (tmp_path / "tiny.log.1").stat().st_size > 50 * 1024 * 1024


def test_only_the_very_process_is_ended_not_a_later_one_with_its_number() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = Identity.of(process.pid)
        assert identity is not None
        other = identity.model_copy(update={"create_time": identity.create_time - 100})
        assert end([(other, signal.SIGTERM)], grace=timedelta(seconds=1)) == 0
        assert identity.is_alive()
        began = time.monotonic()
        assert end([(identity, signal.SIGTERM)], grace=timedelta(seconds=5)) == 1
        assert time.monotonic() - began < 4
        assert not identity.is_alive()

"""One line of JSON per event, for our loggers and the libraries', without secrets."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from adapters.logs import configure_logging
from settings import Settings


@pytest.fixture
def configured() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    disabled = logging.getLogger("uvicorn.access").disabled
    configure_logging(Settings.model_construct(log_format="json", log_level="INFO"))
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = disabled
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("configured")
def test_both_kinds_of_loggers_write_json_with_what_is_bound_and_no_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The handler holds the stream that was there when it was made.
    logging.getLogger().handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.stdlib.get_logger("ours").info("signed in", password="swordfish", tenant="acme")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("theirs").exception("it broke")
    logging.getLogger("theirs").debug("too fine")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["signed in", "it broke"]
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert (lines[0]["password"], lines[0]["tenant"]) == ("(hidden)", "acme")
    assert "ValueError: no" in lines[1]["exception"]

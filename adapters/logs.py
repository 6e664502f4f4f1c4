"""One structured log for every process: JSON lines, or colours for a person at a console."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog

from settings import Settings

# Headers and fields that would carry a secret into the log if somebody bound them by mistake.
_SECRET = frozenset({"authorization", "password", "token", "refresh_token", "cookie", "secret"})


def configure_logging(settings: Settings) -> None:
    """Sends structlog and the standard library's loggers through the same renderer to stderr."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _conceal,
    ]
    renderer: structlog.types.Processor
    if settings.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(serializer=_line)
    else:
        renderer = structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Ours go to the same stream without a record of the standard library around each: there is a
    # line for every request.
    structlog.configure(
        processors=[p for p in shared if not isinstance(p, structlog.stdlib.ExtraAdder)]
        + [renderer],
        logger_factory=lambda *names: _Straight(handler, *names),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Our own access line says more; these two say little at length.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _Straight:
    """Writes lines where a handler writes its own."""

    def __init__(self, handler: logging.StreamHandler[TextIO], name: str = "holdfast") -> None:
        self._handler = handler
        self.name = name

    def msg(self, line: str) -> None:
        self._handler.acquire()
        try:
            self._handler.stream.write(f"{line}\n")
            self._handler.flush()
        finally:
            self._handler.release()

    debug = info = warning = error = critical = exception = msg


def _conceal(logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    del logger, method
    for name in _SECRET & event.keys():
        event[name] = "(hidden)"
    return event


def _line(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

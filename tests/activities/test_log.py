"""What activities leave in the log: the ticket, and the request that led to it."""

import uuid

import pytest
import structlog
from structlog.testing import capture_logs
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.log import ActivityLog
from activities.tickets import bind
from domain.lifecycle import TicketRef

REF = TicketRef(tenant_id=uuid.UUID(int=1), slug="acme", number=7)


class _Carries(ActivityInboundInterceptor):
    """Where the chain of interceptors ends: the activity itself."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        bind(REF, {"request": "req-1", "correlation": "errand-2"})
        if self.failure is not None:
            raise self.failure
        return "done"


async def carried_out(failure: Exception | None = None) -> list[structlog.typing.EventDict]:
    asked = ExecuteActivityInput(fn=lambda: None, args=[], executor=None, headers={})
    logged = ActivityLog().intercept_activity(_Carries(failure))

    async def run() -> object:
        activity.info()  # it is one
        return await logged.execute_activity(asked)

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        if failure is None:
            assert await ActivityEnvironment().run(run) == "done"
        else:
            with pytest.raises(type(failure)):
                await ActivityEnvironment().run(run)
    return lines


async def test_an_activity_is_logged_with_the_request_that_led_to_it() -> None:
    [line] = await carried_out()
    assert (line["event"], line["log_level"], line["failure"]) == ("activity", "info", None)
    assert line["ticket"] == "ticket/acme/7"
    assert (line["request_id"], line["correlation_id"]) == ("req-1", "errand-2")


async def test_a_failure_is_named_without_a_word_of_what_it_says() -> None:
    [refused] = await carried_out(ApplicationError("to ada@example.org", type="MailUnreachable"))
    [broken] = await carried_out(ValueError("ada@example.org"))
    assert (refused["failure"], broken["failure"]) == ("MailUnreachable", "ValueError")
    assert "ada@" not in f"{refused}{broken}"

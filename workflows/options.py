"""Timeouts and retries, named once."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy, SearchAttributeKey


class LocalOptions(TypedDict):
    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy
    local_retry_threshold: timedelta


class ActivityOptions(TypedDict, total=False):
    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


# A short transaction. Tried for ever: when Postgres is away the ticket waits for it.
DATABASE = LocalOptions(
    start_to_close_timeout=timedelta(seconds=15),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
    ),
    local_retry_threshold=timedelta(seconds=3),
)

# One mail, webhook or push: three days, as mail servers do.
DELIVERY = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=60),
    schedule_to_close_timeout=timedelta(hours=72),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=5),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=30),
    ),
)

# A model's opinion: worth a day of trying, then the ticket goes on without. Counted in attempts:
# a time limit would leave a timer of its own with Temporal for each idle ticket.
MODEL = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=296,
    ),
)

# A transaction that is not a ticket's own: tried for ever, Postgres comes back.
SHORT = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)
    ),
)

# Long work in chunks, each of which says that it is alive.
CHUNK = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)
    ),
)

# A training or a backtest: a minute for most desks, an hour for the largest. It says every second
# that it is alive, and begins again where its worker died.
LEARNING = ActivityOptions(
    start_to_close_timeout=timedelta(hours=2),
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=5),
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=6,
    ),
)

TENANT = SearchAttributeKey.for_keyword("HoldfastTenant")
NUMBER = SearchAttributeKey.for_int("TicketNumber")
STATUS = SearchAttributeKey.for_keyword("TicketStatus")
PRIORITY = SearchAttributeKey.for_keyword("TicketPriority")
TEAM = SearchAttributeKey.for_keyword("TicketTeam")
DEADLINE = SearchAttributeKey.for_datetime("NextDeadline")

"""What activities leave in the log: one line each, with the request that led to it."""

import time

import structlog
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

logger = structlog.stdlib.get_logger("holdfast.activities")


class ActivityLog(Interceptor):
    """Logs each activity when it has ended. Local ones only for who debugs: they are every wake."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Logged(super().intercept_activity(next))


class _Logged(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        began, failure = time.perf_counter(), None
        try:
            return await super().execute_activity(input)
        except BaseException as error:
            failure = getattr(error, "type", None) or type(error).__name__
            raise
        finally:
            # In the activity's own task: what it bound (ticket, request) is in the line.
            info = activity.info()
            say = logger.debug if info.is_local else logger.info
            say(
                "activity",
                activity=info.activity_type,
                attempt=info.attempt,
                failure=failure,
                duration_ms=round((time.perf_counter() - began) * 1000, 1),
            )

"""What runs by the clock keeps in step with the code, and with nobody's pause."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import (
    Client,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

import worker

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


@pytest.fixture
async def scheduled(dev_server: Client) -> AsyncIterator[Client]:
    await worker.make_schedules(dev_server, database="abc")
    yield dev_server
    for name in worker.schedules():
        await dev_server.get_schedule_handle(name).delete()


async def test_a_schedule_of_an_earlier_version_runs_as_this_one_wants_and_stays_paused(
    scheduled: Client,
) -> None:
    handle = scheduled.get_schedule_handle("retrain")

    def every_night(found: ScheduleUpdateInput) -> ScheduleUpdate:
        spec = ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=timedelta(days=1), offset=timedelta(hours=2))],
            jitter=timedelta(minutes=20),
        )
        return ScheduleUpdate(schedule=dataclasses.replace(found.description.schedule, spec=spec))

    await handle.update(every_night)
    await handle.pause(note="Somebody looks into something.")
    for _ in range(2):
        await worker.make_schedules(scheduled, database="abc")
        found = await handle.describe()
        assert [one.every for one in found.schedule.spec.intervals] == [worker.RETRAIN_EVERY]
        assert found.schedule.spec.jitter is None
        assert found.schedule.state.paused
        assert await found.memo() == {"database": "abc"}

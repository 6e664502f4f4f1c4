"""What a tenant sets up: statuses, custom fields, calendars, policies."""

from services.configuration.keeping import Changes, hold
from services.configuration.shapes import (
    change_field,
    change_status,
    create_field,
    create_status,
    field,
    fields_of,
    order_statuses,
    status,
    statuses,
)
from services.configuration.terms import (
    MOST_STEPS,
    calendar,
    calendars,
    change_calendar,
    change_policy,
    checked_policy,
    create_calendar,
    create_policy,
    order_policies,
    policies,
    policy,
    terms_of,
)
from services.configuration.versions import versions_of

__all__ = [
    "MOST_STEPS",
    "Changes",
    "calendar",
    "calendars",
    "change_calendar",
    "change_field",
    "change_policy",
    "change_status",
    "checked_policy",
    "create_calendar",
    "create_field",
    "create_policy",
    "create_status",
    "field",
    "fields_of",
    "hold",
    "order_policies",
    "order_statuses",
    "policies",
    "policy",
    "status",
    "statuses",
    "terms_of",
    "versions_of",
]

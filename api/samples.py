"""What answers look like, for their pages in the documentation: made from schemas and one table.

An example of an answer is put together property by property. What a property holds is looked up
here by its name, or by `Model.name` where one model means something else by it; times, ids and
enumerations say it themselves. So one story is told everywhere: Maria Sommer's router.
"""

import uuid
from collections.abc import Mapping
from typing import cast

JsonSchema = Mapping[str, object]

_NAMESPACE = uuid.UUID("0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d")
_MOST_DEPTH = 12

# Null is the usual answer here; an example that fills everything tells no story.
_NULL = frozenset(
    {
        "breached_at", "closed_at", "earlier", "error", "escalation", "finished_at",
        "first_bad_position", "merged_into", "next", "paused_since", "read_at", "remind_at",
        "resolved_at", "revoked_at", "snoozed", "snoozed_until", "auto_close_at", "without",
        "BacktestOut.detail", "BulkItem.code", "BulkItem.detail", "problem", "transitions",
        "pattern", "code",
        "TimedClock.target_days", "ClockOut.target_days", "planned_because", "caused_by",
        "cancelled_because", "due_override", "acknowledged_until", "detected_at", "lateness",
        "skipped", "max_pause_seconds", "retiming", "pause_left_seconds", "runs_on_at",
        "rotated_at", "replay_of", "why_closed", "Day.name",
    }
)  # fmt: skip

_POLICY: Mapping[str, object] = {
    "id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
    "version": 3,
    "name": "Standard",
    "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
    "calendar_version": 2,
    "targets": {"first_reply": {"high": "PT1H", "normal": "PT4H"}},
    "pause_in": {"resolution": ["pending"]},
    "steps": [
        {
            "id": "warn-agent",
            "metric": "first_reply",
            "offset": "PT30M",
            "action": {"kind": "notify", "to": ["assignee"]},
        }
    ],
}

_FRUSTRATION = {
    "value": 0.52,
    "level": "some",
    "signs": [
        {"kind": "again", "words": "the third time", "weight": 0.5},
        {"kind": "mood", "words": "negative", "weight": 0.04},
    ],
    "rules": "frustration-1",
}

_VALUES: Mapping[str, object] = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4YzVjMSJ9.c2lnbmF0dXJl",
    "action": {"status": "resolved", "add_tags": ["firmware"]},
    "Entry.action": "ticket.merged",
    "active": True,
    "actor_kind": "user",
    "actor_name": "Grace Okafor",
    "abstained": False,
    "agent_scope": "team",
    "answered": 412,
    "MeasuresOut.answered": 171,
    "applied": True,
    "VerdictOut.applied": ["topic", "sentiment"],
    "VerdictOut.kind": "all",
    "mood_pending": False,
    "frustration": "some",
    "AnalysisOut.frustration": _FRUSTRATION,
    "VerdictOut.frustration": _FRUSTRATION,
    "FieldReport.applied": 380,
    "WeekOut.applied": 31,
    "asked": 520,
    "accuracy": 0.87,
    "not_taught": 0,
    "wanted_precision": 0.9,
    "calibration_error": 0.041,
    "compared_with": "version 3",
    "complete": True,
    "corrected": 14,
    "coverage": 0.86,
    "decided_by_name": "Grace Okafor",
    "ModelOut.detail": "Better: 87.0 % of 200 later decisions right, version 3 84.5 %.",
    "ModelDetail.detail": "Better: 87.0 % of 200 later decisions right, version 3 84.5 %.",
    "ModelOut.state": "champion",
    "ModelDetail.state": "champion",
    "BacktestOut.state": "finished",
    "BinOut.start": 0.8,
    "BinOut.end": 0.8667,
    "BinOut.right": 0.81,
    "guess": "billing",
    "judged": 198,
    "macro_f1": 0.81,
    "model": "topic-4",
    "model_version": "b81f6c2a90d4+topic-4",
    "OpinionOut.model_version": "topic-4",
    "FieldOpinion.model_version": "topic-4",
    "out_of_scope": False,
    "overridden": False,
    "own_labels": True,
    "precision": 0.93,
    "probability": 0.91,
    "ShareOut.probability": 0.91,
    "progress": 1.0,
    "right": 184,
    "ConfusionOut.right": "orders",
    "rows": 200,
    "ConfusionOut.rows": 9,
    "ModelOut.rows": 800,
    "ModelDetail.rows": 800,
    "ModelDetail.labels": {"network": 320, "billing": 280, "orders": 200},
    "QuestionOut.labels": ["network", "billing", "orders"],
    "OpinionOut.label": "network",
    "FieldOpinion.label": "network",
    "ShareOut.label": "network",
    "StandingOut.value": "network",
    "AnalysisOut.score": {
        "value": 46,
        "contributions": [
            {"name": "priority", "points": 26.0, "because": "Priority high."},
            {"name": "sla", "points": 20.0, "because": "A promise is due in 40 min."},
        ],
    },
    "strangeness": 0.12,
    "threshold": 0.62,
    "threshold_by_hand": False,
    "withheld": None,
    "objection": None,
    "replaced_by": None,
    "ModelOut.live": {
        "at": "2026-05-05T00:04:11Z",
        "judged": 64,
        "right": 61,
        "precision": 0.953,
        "low": 0.833,
        "high": 0.988,
    },
    "ModelDetail.live": {
        "at": "2026-05-05T00:04:11Z",
        "judged": 64,
        "right": 61,
        "precision": 0.953,
        "low": 0.833,
        "high": 0.988,
    },
    "tickets": 520,
    "BacktestOut.tickets": 5000,
    "weight": 1.84,
    "withheld_right": 31,
    "withheld_wrong": 22,
    "word": "router",
    "assign_on_resolve": True,
    "assignee_name": "Grace Okafor",
    "attempts": 1,
    "accepted": 4,
    "audience": "public",
    "author_id": "0198c5c1-1d2f-7b31-9e4a-0a1b2c3d4e5f",
    "ArticleOut.body": "1. Unplug it.\n2. Wait **ten seconds**.\n3. Plug it in again.",
    "VersionOut.body": "1. Unplug it.\n2. Wait **ten seconds**.\n3. Plug it in again.",
    "CannedOut.body": "Hello {{customer.first_name|there}}, a new router is on its way.",
    "boost": 1.0577,
    "by_agent": False,
    "auth_method": "session",
    "author_kind": "user",
    "author_name": "Grace Okafor",
    "body_html": "<p>We have sent a new router; it arrives on Friday.</p>",
    "body_text": "We have sent a new router; it arrives on Friday.",
    "CalendarOut.body": {
        "timezone": "Europe/Berlin",
        "weekly": {"mon": [["09:00", "17:00"]], "fri": [["09:00", "15:00"]]},
        "holidays": ["2026-12-25"],
        "overrides": {"2026-12-24": [["09:00", "12:00"]]},
    },
    "CalendarVersion.body": {
        "timezone": "Europe/Berlin",
        "weekly": {"mon": [["09:00", "17:00"]]},
        "holidays": [],
    },
    "PolicyOut.body": _POLICY,
    "PolicyVersion.body": _POLICY,
    "PolicyChanged.body": _POLICY,
    "DraftOut.body": _POLICY,
    "TicketSla.timed_by": {
        "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
        "name": "Standard",
        "version": 3,
    },
    "Tried.in_force": {
        "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
        "name": "Standard",
        "version": 3,
    },
    "PolicyVerdict.name": "Gold",
    "PolicyVerdict.because": [
        {"holds": True, "why": "priority is high; asked: at least high", "depth": 0}
    ],
    "applies": True,
    "in_force": True,
    "holds": True,
    "Because.why": "priority is high; asked: at least high",
    "calendar_version": 2,
    "depth": 0,
    "Day.name": None,
    "why_closed": None,
    "target_seconds": 14400,
    "remaining_seconds": 12060,
    "used_seconds": 2340,
    "elapsed_seconds": 2340,
    "paused_seconds": 0,
    "over_seconds": 0,
    "running": True,
    "tier": 1,
    "step": "warn-agent",
    "UpcomingOut.kind": "step",
    "within_hours": True,
    "actions": ["notify"],
    "Country.code": "DE",
    "regions": ["BY", "HH"],
    "by_name": "Grace Okafor",
    "Webhook.name": "Pager",
    "Webhook.url": "https://pager.example.com/holdfast",
    "events": ["escalated", "sla_breached"],
    "MetricEvents.events": [
        {"at": "2026-05-04T08:00:00Z", "metric": "first_reply", "cycle": 1, "kind": "activate"},
        {
            "at": "2026-05-04T08:00:00Z",
            "metric": "first_reply",
            "cycle": 1,
            "kind": "apply_sla",
            "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
            "policy_version": 3,
            "target_seconds": 14400,
            "due_at": "2026-05-04T12:00:00Z",
        },
        {
            "at": "2026-05-04T09:30:00Z",
            "metric": "first_reply",
            "cycle": 1,
            "kind": "fulfill",
            "outcome": "met",
        },
        {
            "at": "2026-05-04T09:30:00Z",
            "metric": "first_reply",
            "cycle": 1,
            "kind": "update_status",
            "business_seconds": 5400,
            "calendar_seconds": 5400,
            "paused_seconds": 0,
        },
    ],
    "generation": 1,
    "WebhookSecret.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw4rVqzFkQ1hY=",
    "WebhookDelivery.type": "ticket.sla_breached",
    "WebhookDeliveryDetail.type": "ticket.sla_breached",
    "WebhookDelivery.state": "sent",
    "StepWorkflow.name": "briefing",
    "StepWorkflow.type": "BriefingWorkflow",
    "StepWorkflow.queue": "batch",
    "StepWorkflow.about": "Writes a note for whoever takes over.",
    "StepWorkflow.ships": True,
    "Start.name": "briefing",
    "Start.queue": "batch",
    "Start.state": "sent",
    "workflow_id": "step/acme/5f2b8c1d9e7a4f60b3c2d1e0f9a8b7c6",
    "WebhookDeliveryDetail.state": "sent",
    "response_status": 200,
    "response": "ok",
    "WebhookDeliveryDetail.message_id": "msg_5f2b8c1d9e7a4f60b3c2d1e0f9a8b7c6",
    "payload": {
        "type": "ticket.sla_breached",
        "timestamp": "2026-05-04T10:31:00Z",
        "data": {"ticket": {"number": 1042, "status": "open"}, "seq": 7},
    },
    "breached": False,
    "CountsOut.breached": 3,
    "categories": {"new": 12, "open": 40, "pending": 7, "on_hold": 1, "resolved": 25},
    "category": "open",
    "cause": {"request": "0198c5c0f7a27c3e9f7b6a1d2c3b4a59"},
    "changes": {"status": ["open", "pending"]},
    "capacity": 8,
    "channel": "email",
    "codes": {"breached": 1},
    "colour": "#2563eb",
    "config_version": 17,
    "content_type": "application/pdf",
    "counts": {"done": 2, "refused": 1},
    "created_by_kind": "customer",
    "current": True,
    "WorkflowOut.current": {"waits_for": "its deadline", "in_flight": []},
    "customer_editable": False,
    "customer_label": "Being worked on",
    "customer_visible": True,
    "cycle": 1,
    "data": {"into": 1042},
    "degraded": False,
    "Readiness.degraded": ["search"],
    "dependencies": {
        "postgres": {"state": "up", "milliseconds": 1.2, "without": None},
        "search": {
            "state": "down",
            "milliseconds": 2000.4,
            "without": "search answers from Postgres, marked degraded",
        },
    },
    "detail": "If somebody here has that address, a link is on its way.",
    "direction": "outgoing",
    "domains": ["example.com"],
    "email": "maria.sommer@example.com",
    "User.email": "grace.okafor@example.org",
    "expires_in": 600,
    "fields": {"serial": "RT-2041"},
    "filename": "invoice.pdf",
    "from_you": False,
    "handle": "grace-okafor",
    "LastRouting.candidates": [
        {
            "agent_id": "0198c5c3-6d7e-7f80-91a2-b3c4d5e6f708",
            "name": "Grace Okafor",
            "load": 2,
            "capacity": 8,
        },
        {
            "agent_id": "0198c5c3-6d7e-7f80-91a2-b3c4d5e6f709",
            "name": "Tom Ade",
            "load": 8,
            "capacity": 8,
            "why_not": "has 8 of 8",
        },
    ],
    "hint": "4b2f",
    "holiday": False,
    "html": "<p>We have sent a new router.</p>",
    "ArticleOut.html": "<ol><li>Unplug it.</li><li>Wait <strong>ten seconds</strong>.</li></ol>",
    "PublicArticle.html": "<ol><li>Unplug it.</li><li>Wait <strong>ten seconds</strong>.</li></ol>",
    "helpful": 12,
    "Comment.helpful": False,
    "identical": False,
    "keywords": ["reboot", "no internet"],
    "input_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "intact": True,
    "invited": False,
    "ip": "203.0.113.7",
    "key": "waiting_for_parts",
    "CustomField.key": "serial",
    "kind": "email",
    "CustomField.kind": "text",
    "DeliveryOut.kind": "mail",
    "Me.kind": "user",
    "Notification.kind": "assigned",
    "RelationOut.kind": "duplicate",
    "Token.kind": "personal",
    "label": "Serial number",
    "language": "en",
    "linked": False,
    "missing": [],
    "last": 7,
    "lead": False,
    "level": 1,
    "link": "https://desk.example.org/t/AZjFwfeifD6fe2odLDtKWQ.6vJ3c1s",
    "load": 2.0,
    "load_weights": {"priority": {"urgent": 2.0}, "channel": {"chat": 0.5}},
    "live": True,
    "marked": 4,
    "matched": 3,
    "message_seq": 6,
    "metric": "first_reply",
    "milliseconds": 1.2,
    "mine": 5,
    "name": "Grace Okafor",
    "SectionOut.name": "Routers",
    "CannedOut.name": "Router is on its way",
    "CalendarOut.name": "Weekdays in Hamburg",
    "Customer.name": "Maria Sommer",
    "Organization.name": "Example Ltd",
    "Organization.tier": "gold",
    "PolicyOut.name": "Standard",
    "PolicyChanged.name": "Standard",
    "RequesterOut.name": "Maria Sommer",
    "Status.name": "Waiting for parts",
    "Team.name": "Network",
    "Tenant.name": "Example Ltd",
    "Token.name": "Nightly report",
    "numbers": [1042, 1043, 1044, 1047, 1051],
    "problem_number": None,
    "needs": ["language:fr 1"],
    "number": 1042,
    "oldest_unsealed_seconds": 1.4,
    "open_seconds": 28800,
    "open_tickets": 2,
    "options": [],
    "organization_name": "Example Ltd",
    "outcome": "running",
    "over": False,
    "override": False,
    "permissions": {"tickets.view": "team", "tickets.reply": "team"},
    "policy_version": 3,
    "position": 1,
    "Entry.position": 4711,
    "priority": "high",
    "rate_class": "standard",
    "queued": True,
    "ready": True,
    "reason": "The whole site is down.",
    "recipient": "maria.sommer@example.com",
    "refresh_token": "hfr_8Qm2xv0bF3kYt6Zr1uJw5nLpAeDcGiHo7sTqVyKXMfE",
    "reopen_closed": False,
    "request_id": "0198c5c0f7a27c3e9f7b6a1d2c3b4a59",
    "required_fields": [],
    "role": "agent",
    "routing": "round_robin",
    "same_language": True,
    "same_requester": True,
    "score": 0.62,
    "rule": "routing",
    "LastRouting.reason": "topic network; least loaded 2/8, of 3 free in Network",
    "rules": {
        "needs": [
            {
                "skill": "routers",
                "level": 2,
                "preferred": False,
                "language": None,
                "topic": "network",
                "tag": None,
                "priority": None,
                "channel": None,
            }
        ],
        "skills_from": ["language", "topic"],
        "on_absence": "replacement",
    },
    "scopes": ["tickets.view"],
    "sealed": 4711,
    "secret": "hf_2vX9kQ7mB4nT1rZ8cW5yL3pJ6hG0dFsA",
    "sentiment": "negative",
    "spam": "not_spam",
    "base_url": "https://models.example.com/v1",
    "has_key": True,
    "LanguageModelOut.model": "small-instruct",
    "timeout_seconds": 20,
    "daily_tokens": 200_000,
    "monthly_tokens": 2_000_000,
    "daily_cost": 2.5,
    "monthly_cost": 25.0,
    "input_price": 0.2,
    "output_price": 0.6,
    "used_today": {"tokens": 12_480, "cost": 0.0041},
    "used_this_month": {"tokens": 301_116, "cost": 0.0982},
    "DraftOut.detail": None,
    "DraftOut.model": "small-instruct",
    "DraftOut.state": "drafted",
    "prompt_version": "reply-1",
    "input_tokens": 1_310,
    "output_tokens": 96,
    "DraftOut.cost": 0.00032,
    "redacted": 3,
    "WrittenSummaryOut.detail": None,
    "WrittenSummaryOut.model": "small-instruct",
    "WrittenSummaryOut.state": "drafted",
    "WrittenSummaryOut.prompt_version": "summary-1",
    "WrittenSummaryOut.cost": 0.00032,
    "WrittenPart.text": "The router has restarted every night at three since Monday.",
    "WrittenOut.model": "small-instruct",
    "WrittenOut.prompt_version": "summary-1",
    "WrittenOut.since": 0,
    "WrittenOut.state": {"text": "", "message_ids": []},
    "SummaryPartsOut.state": {"text": "", "message_ids": []},
    "LanguageModelOut.enabled": True,
    "DraftSource.kind": "article",
    "DraftSource.title": "Reset your router",
    "mark": "S1",
    "cited": True,
    "TicketOut.score": 46,
    "AcknowledgedOut.score": 46,
    "TicketDetail.score": 46,
    "FoundOut.score": 46,
    "seq": 7,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 48213,
    "ArticleLine.slug": "restart-your-router",
    "ArticleOut.slug": "restart-your-router",
    "PublicArticle.slug": "restart-your-router",
    "PublicLine.slug": "restart-your-router",
    "SuggestionOut.slug": "restart-your-router",
    "Translation.slug": "router-neu-starten",
    "PublicTranslation.slug": "router-neu-starten",
    "snippet": "Unplug it. Wait ten seconds. Plug it in again.",
    "skills": {"language:fr": 3},
    "slug": "acme",
    "snippets": {"subject": "<mark>Router</mark> keeps restarting"},
    "state": "running",
    "StandingOut.state": "online",
    "Dependency.state": "up",
    "livez.state": "up",
    "BulkItem.state": "done",
    "ArticleLine.state": "published",
    "BurstOut.state": "open",
    "BurstOut.title": "No internet in Hamburg",
    "SummaryOut.messages": 14,
    "SummaryOut.state": [
        {
            "text": "We have sent you a new router, it arrives on Friday.",
            "message_id": "0198c5c3-6d7e-7f80-91a2-a3b4c5d6e7f8",
            "author": "agent",
            "internal": False,
        }
    ],
    "SentenceOut.internal": False,
    "SentenceOut.author": "customer",
    "SentenceOut.text": "My router restarts every night at three.",
    "ArticleOut.state": "published",
    "Translation.state": "published",
    "SuggestionOut.kind": "article",
    "SuggestionOut.number": None,
    "DeliveryOut.state": "sent",
    "status": "open",
    "status_name": "Open",
    "subject": "Router keeps restarting",
    "strategy": "least_loaded",
    "tag": "escalated",
    "tags": ["router"],
    "target_id": "1042",
    "target_kind": "ticket",
    "team_name": "Network",
    "tenant_slug": "acme",
    "text": "We have sent a new router; it arrives on Friday.",
    "token_type": "Bearer",
    "terms": ["internet", "hamburg", "connection"],
    "title": "Restart your router",
    "Translation.title": "Router neu starten",
    "PublicTranslation.title": "Router neu starten",
    "Translation.language": "de",
    "PublicTranslation.language": "de",
    "topic": "network",
    "topic_teams": {},
    "total": 3,
    "triage": "done",
    "DeskSettings.triage": True,
    "thanks_keep_resolved": False,
    "RetrainingPlan.enabled": True,
    "ScheduleOut.enabled": True,
    "ScheduleOut.last": "2026-05-05T00:04:11Z",
    "ScheduleOut.next": "2026-05-06T00:00:00Z",
    "every_days": 1,
    "hour": 2,
    "least_new": 25,
    "zone": "Europe/Berlin",
    "first_month": "2026-05",
    "type": "incident",
    "EventOut.type": "agent_replied",
    "LastRouting.type": "assigned",
    "unassigned": 8,
    "unhelpful": 1,
    "unread": 2,
    "unsealed": 0,
    "url": "https://desk.example.org/t/AZjFwfeifD6fe2odLDtKWQ.6vJ3c1s",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "value": "maria.sommer@example.com",
    "version": 3,
    "why": ["router", "restarting"],
    "published_version": 3,
    "comment": "Step 2 is missing.",
    "SectionOut.description": "What to try before a router is sent.",
    "duplicate": True,
    "edited": 1,
    "rejected": 0,
    "restored_from": 1,
    "SuggestionOut.text": "1. Unplug it. 2. Wait ten seconds. 3. Plug it in again.",
    "RoutingOut.why": "1 at capacity, 2 not there",
    "WaitingOut.why": "1 at capacity, 2 not there",
    "why_not": "has 8 of 8",
    "visibility": "public",
}

# Minutes after ten o'clock: what is made comes before what is changed, and both before what is due.
_MINUTES = {
    "created_at": 12, "started_at": 12, "customer_at": 12, "occurred_at": 31, "recorded_at": 31,
    "agent_at": 31, "sent_at": 31, "updated_at": 31, "changed_at": 31, "used_at": 40, "at": 31,
    "verified_at": 20, "due_at": 52, "next_due_at": 52, "first_reply_due_at": 52,
    "resolution_due_at": 59, "deadline_at": 52, "expires_at": 59, "stopped_at": 31,
}  # fmt: skip


class NoSample(LookupError):
    """The table lacks a property: say what it holds."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place} has no sample in api/samples.py")


def sample_of(schema: JsonSchema, shapes: Mapping[str, JsonSchema], *, place: str) -> object:
    """An example of what `schema` describes. Raises NoSample, naming the property.

    `shapes` are the document's schemas by name; `place` is whose answer it is, for what has no
    model of its own.
    """
    return _sample(schema, shapes, (place,), 0)


def _sample(
    schema: JsonSchema, shapes: Mapping[str, JsonSchema], place: tuple[str, ...], depth: int
) -> object:
    """`place` is the model and, within one, the property."""
    if depth > _MOST_DEPTH:
        raise NoSample(".".join(place))
    found = _told(schema, place)
    if found is not None:
        return found[0]
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        model = shapes[name]
        if "properties" in model:
            place = (str(model.get("title", name)),)
        return _sample(model, shapes, place, depth + 1)
    for one in cast("list[JsonSchema]", schema.get("anyOf") or schema.get("oneOf") or ()):
        if one.get("type") != "null":
            return _sample(one, shapes, place, depth + 1)
    match schema.get("type"):
        case "object":
            properties = cast("Mapping[str, JsonSchema]", schema.get("properties", {}))
            if not properties and place[0] in ("livez", "request_reset"):
                name = "state" if place[0] == "livez" else "detail"
                properties = {name: {"type": "string"}}
            elif not properties:
                raise NoSample(".".join(place))
            return {
                name: _sample(said, shapes, (place[0], name), depth + 1)
                for name, said in properties.items()
            }
        case "array":
            return [_sample(cast("JsonSchema", schema["items"]), shapes, place, depth + 1)]
    raise NoSample(".".join(place))


def _told(schema: JsonSchema, place: tuple[str, ...]) -> tuple[object] | None:
    """What the schema or the table says outright."""
    if len(place) > 1:
        model, name = place
        qualified = f"{model}.{name}"
        choices = cast("list[JsonSchema]", schema.get("anyOf") or ())
        may_be_null = any(one.get("type") == "null" for one in choices)
        if qualified in _NULL and may_be_null:
            return (None,)
        if qualified in _VALUES:
            return (_VALUES[qualified],)
        if name in _NULL and may_be_null:
            return (None,)
        if name in _VALUES and not _is_structure(schema, _VALUES[name]):
            return (_VALUES[name],)
    if "const" in schema:
        return (schema["const"],)
    if "enum" in schema:
        return (cast("list[object]", schema["enum"])[0],)
    name = place[-1]
    match schema.get("format"):
        case "uuid":
            return (str(uuid.uuid5(_NAMESPACE, name)),)
        case "date-time":
            return (f"2026-05-04T10:{_MINUTES.get(name, 12):02}:00Z",)
        case "date":
            return ("2026-05-04",)
        case "duration":
            return ("PT4H",)
    return None


def _is_structure(schema: JsonSchema, value: object) -> bool:
    """Whether the schema wants an object or a list where the table has a plain value."""
    kinds = {schema.get("type")} | {
        one.get("type", "object")
        for one in cast("list[JsonSchema]", schema.get("anyOf") or ())
        if one.get("type") != "null"
    }
    wants = bool(kinds & {"object", "array"}) or "format" in schema
    return wants and not isinstance(value, dict | list) and "string" not in kinds


__all__ = ["NoSample", "sample_of"]

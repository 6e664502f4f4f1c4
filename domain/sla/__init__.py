"""Promises and their clocks: what starts, pauses and stops them, when they are due, what follows.

The caller keeps a ticket's clocks and folds them: `observe` for each thing that happened, then
`fire` for what time brought. Both are pure; `fire` may come late, often or twice without changing
any breach time. `next_moment` says when it is worth calling next.

The rules that are decisions rather than arithmetic:

- A deadline is always worked out from the start: start + target in open time, less the pauses. A
  changed priority, policy or calendar re-plans it; time already used and pauses taken stay.
- Nothing is dated earlier than the plan that demands it: where a change puts a deadline or a step
  into the past, it counts as of the change, and the breach names the change as its cause.
- A breach is never taken back by a later plan. What ends a clock in the very instant it is due
  keeps the promise.
- While paused no deadline passes; moments from before the pause stay what they were.
- A clock whose policy names no target (any more) keeps its history and promises nothing.
- Who wrote and who can read it decide what a message means to a clock, never its channel; what a
  machine wrote means nothing.
"""

from domain.sla.acknowledging import acknowledge, acknowledged_until
from domain.sla.clocks import (
    Account,
    Acknowledgement,
    Clock,
    Due,
    DueOverride,
    Fact,
    Pause,
    StepDone,
    Stretch,
    Summary,
    account,
    counts_as,
    spent,
    stretches,
    summary,
)
from domain.sla.conditions import AllOf, AnyOf, Condition, Not, Op, Subject, Test, Verdict, explain
from domain.sla.fold import Past, inherit, observe, revive, set_due, wants_past
from domain.sla.metrics import RULES, Metric, Outcome, Repeat, Rule, Signal
from domain.sla.moments import fire, next_moment, upcoming
from domain.sla.policies import (
    Action,
    AddTag,
    BusinessDays,
    CallWebhook,
    Longest,
    Notify,
    OwnClock,
    Policy,
    Promised,
    QuietHours,
    RaisePriority,
    Reassign,
    Reopening,
    StartWorkflow,
    Step,
    Target,
    Terms,
    WriteNote,
    matched,
    promised,
)
from domain.sla.vectors import Vector, solve

__all__ = [
    "RULES",
    "Account",
    "Acknowledgement",
    "Action",
    "AddTag",
    "AllOf",
    "AnyOf",
    "BusinessDays",
    "CallWebhook",
    "Clock",
    "Condition",
    "Due",
    "DueOverride",
    "Fact",
    "Longest",
    "Metric",
    "Not",
    "Notify",
    "Op",
    "Outcome",
    "OwnClock",
    "Past",
    "Pause",
    "Policy",
    "Promised",
    "QuietHours",
    "RaisePriority",
    "Reassign",
    "Reopening",
    "Repeat",
    "Rule",
    "Signal",
    "StartWorkflow",
    "Step",
    "StepDone",
    "Stretch",
    "Subject",
    "Summary",
    "Target",
    "Terms",
    "Test",
    "Vector",
    "Verdict",
    "WriteNote",
    "account",
    "acknowledge",
    "acknowledged_until",
    "counts_as",
    "explain",
    "fire",
    "inherit",
    "matched",
    "next_moment",
    "observe",
    "promised",
    "revive",
    "set_due",
    "solve",
    "spent",
    "stretches",
    "summary",
    "upcoming",
    "wants_past",
]

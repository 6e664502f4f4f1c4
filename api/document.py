"""The OpenAPI document beyond what FastAPI reads off the routes."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.samples import NoSample, sample_of
from api.shapes import Problem

# One part of the document; deep, and of whatever JSON holds.
Part = dict[str, Any]

JSON = "application/json"
_REF = "#/components"
_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
HEADERS: Part = {
    "ETag": {
        "description": "The version of what is answered. Send it back as `If-Match` with a change.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
        "example": '"7"',
    },
    "Location": {
        "description": "Where the new thing is.",
        "schema": {"type": "string"},
        "example": "/api/v1/tickets/1042",
    },
    "Idempotency-Replayed": {
        "description": "The answer is the one given before under the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "RateLimit-Limit": {
        "description": "How many requests a minute this caller has; missing without a limit.",
        "schema": {"type": "integer"},
        "example": 600,
    },
    "RateLimit-Remaining": {
        "description": "How many of them are left.",
        "schema": {"type": "integer"},
        "example": 598,
    },
    "RateLimit-Reset": {
        "description": "In how many seconds they are counted anew.",
        "schema": {"type": "integer"},
        "example": 41,
    },
}
# Answers with a version whose routes take none: the first of its kind.
TAGGED = frozenset({"create_ticket"})
LOCATED = frozenset({"create_ticket"})
UNLIMITED = frozenset({"livez", "readyz"})


def operation_id(route: APIRoute) -> str:
    """The endpoint's own name, which programs are generated from: short, and it stays.

    What needs no sign-in is named apart: a customer's `public_reply` is not an agent's `reply`.
    """
    return f"public_{route.name}" if "public" in route.tags else route.name


def complete(app: FastAPI) -> None:
    """Adds what routes refer to (the problem's shape, credentials), headers, and examples."""
    plain = app.openapi

    def document() -> Part:
        if app.openapi_schema is None:
            said = plain()
            parts = said.setdefault("components", {})
            shapes = parts.setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template=f"{_REF}/schemas/{{model}}")
            shapes.update(problem.pop("$defs", {}))
            shapes["Problem"] = problem
            parts["securitySchemes"] = {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token of a sign-in, or an API token (`hf_…`).",
                }
            }
            parts["headers"] = HEADERS
            for path in said["paths"].values():
                versioned = any(_takes(operation, "If-Match") for operation in path.values())
                for method, operation in path.items():
                    _add_headers(operation, versioned=versioned, method=method)
                    _add_examples(operation, shapes)
            app.openapi_schema = said
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _successes(operation: Part) -> Iterator[tuple[str, Part]]:
    for status, answer in operation["responses"].items():
        if status < "300":
            yield status, answer


def _takes(operation: Part, header: str) -> bool:
    return any(
        one.get("in") == "header" and one["name"].lower() == header.lower()
        for one in operation.get("parameters", ())
    )


def _add_headers(operation: Part, *, versioned: bool, method: str) -> None:
    name = operation["operationId"]
    if name in UNLIMITED:
        return
    for status, answer in _successes(operation):
        sent = list(_LIMITS)
        has_body = status != "204"
        if has_body and (
            name in TAGGED or _takes(operation, "If-Match") or (versioned and method == "get")
        ):
            sent.append("ETag")
        if name in LOCATED:
            sent.append("Location")
        if _takes(operation, "Idempotency-Key"):
            sent.append("Idempotency-Replayed")
        headers = answer.setdefault("headers", {})
        for header in sent:
            headers.setdefault(header, {"$ref": f"{_REF}/headers/{header}"})


def _add_examples(operation: Part, shapes: Part) -> None:
    """An answer whose properties nobody described goes without; a test says which."""
    for _, answer in _successes(operation):
        content = answer.get("content", {}).get(JSON)
        if content and "example" not in content and "examples" not in content:
            try:
                content["example"] = sample_of(
                    content["schema"], shapes, place=operation["operationId"]
                )
            except NoSample:
                continue


__all__ = ["HEADERS", "complete", "operation_id"]

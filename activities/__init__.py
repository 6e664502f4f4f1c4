"""Temporal's door: idempotent steps on classes with injected clients."""

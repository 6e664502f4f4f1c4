"""Budgets as ratios, each against a bare equivalent taken in the same run."""

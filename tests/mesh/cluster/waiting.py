"""Waiting for what a cluster does: it takes seconds, and a test that asks all the time slows it down."""

from harness.waiting import eventually

INTERVAL_SECONDS = 0.3


def until(question, seconds: float, what: str):
    """The first truthy answer of `question`; AssertionError with its last answer when none comes in time."""
    return eventually(question, seconds, what, INTERVAL_SECONDS)

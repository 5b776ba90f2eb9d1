"""Waiting for a state of another process that nothing announces: asked again until it holds or time is up."""

import time

# Short against everything that is waited for, long enough not to burden two cores.
INTERVAL_SECONDS = 0.01
# Longer than a busy machine takes for anything: a promise that names a time gives its own.
TIMEOUT_SECONDS = 30.0


def eventually(question, timeout: float = TIMEOUT_SECONDS, what: str = "", interval: float = INTERVAL_SECONDS):
    """The first truthy answer of `question`; AssertionError with its last answer when none comes in time."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or question!r}; last answer {answer!r}")
        time.sleep(interval)

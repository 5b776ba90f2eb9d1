"""The `console` blocks of a document: commands after "$ ", and what they print."""

import re

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A command goes on after a backslash at the end of its line.
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def blocks(text: str) -> list[str]:
    return _BLOCK.findall(text)


def commands(text: str) -> list[tuple[str, str]]:
    """Every command, with what the document says that it prints."""
    return [pair for block in blocks(text) for pair in _COMMAND.findall(block)]

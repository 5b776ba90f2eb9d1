"""What README.md says of the promises is what their tests say."""

import re

from .varnish import VCL

README = (VCL / "README.md").read_text()


def test_every_promise_stands_in_the_table_in_the_words_of_its_test():
    promises = {path.stem: path.read_text().partition("\n")[0] for path in (VCL / "vtc").glob("*.vtc")}
    table = README.partition("\n## Promises\n")[2]
    told = {name: f'varnishtest "{promise}"' for promise, name in re.findall(r"^\| (.+) \| `(\w+)` \|$", table, re.MULTILINE)}
    assert told == promises
    assert f"varnish-tests.sh: {len(promises)} passed, 0 failed" in README


def test_every_file_stands_in_the_table():
    files = {path.name for path in VCL.iterdir() if path.suffix in (".vcl", ".sh")}
    table = README.partition("| file | what |\n")[2].partition("\n\n")[0]
    assert files == set(re.findall(r"`([\w.]+\.(?:vcl|sh))`", re.sub(r"\| [^|]+ \|$", "", table, flags=re.MULTILINE)))

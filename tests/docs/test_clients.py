"""docs/clients.md names the clients that the tests run, in the versions that they run."""

import json
import re

from harness.paths import ROOT

PAGE = (ROOT / "docs/clients.md").read_text()
CHAIN = ROOT / "tests/chain"


def in_requirements(path: str, package: str) -> str:
    return re.search(rf"^{package}==(\S+)$", (ROOT / path).read_text(), re.MULTILINE)[1]


def in_go(module: str) -> str:
    return re.search(rf"^\t{re.escape(module)} v(\S+)$", (CHAIN / "go/go.mod").read_text(), re.MULTILINE)[1]


def in_maven(artifact: str) -> str:
    return re.search(rf"<artifactId>{artifact}</artifactId>\s*<version>(.*?)</version>", (CHAIN / "java/pom.xml").read_text())[1]


def pinned() -> dict[str, str]:
    """Each client that the tests run, and what its lock or list says."""
    node = json.loads((CHAIN / "package.json").read_text())["dependencies"]
    return {
        "openai-python": in_requirements("tests/requirements.txt", "openai"),
        "openai-node": node["openai"],
        "openai-go": in_go("github.com/openai/openai-go/v3"),
        "openai-java": in_maven("openai-java"),
        "LangChain": in_requirements("tests/chain/python/requirements.txt", "langchain-openai"),
        "Vercel AI SDK": node["ai"],
        "go-openai": in_go("github.com/sashabaranov/go-openai"),
        "langchain4j": in_maven("langchain4j-open-ai"),
    }


def rows(run_by: str) -> dict[str, str]:
    found = re.findall(rf"^\| \[(.*?)\]\(.*?\).*? \| (\S+) \|.* \| {run_by} \|$", PAGE, re.MULTILINE)
    return dict(found)


def test_the_page_has_the_versions_that_the_tests_run():
    assert rows("the tests") == pinned()
    assert f"`@ai-sdk/openai` {json.loads((CHAIN / 'package.json').read_text())['dependencies']['@ai-sdk/openai']}" in PAGE


def test_the_page_says_what_each_client_asks_for_and_how_it_retries():
    kinds = re.findall(r'Kind\(\s*"([^"]*)",\s*"[^"]*",\s*"[^"]*",\s*"(base64|float)"(.*?)\)', (CHAIN / "test_clients.py").read_text(), re.DOTALL)
    titles = {"langchain": "LangChain", "vercel": "Vercel AI SDK", "llamaindex": "LlamaIndex", "litellm": "LiteLLM", "haystack": "Haystack"}
    for name, asks, more in kinds:
        if "," in name:
            continue
        retries = "none" if "retries=False" in more else "at its own pace" if "obeys_retry_after=False" in more else "obeys"
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| [{titles.get(name, name)}]"))
        assert f"| {asks} | {retries}" in row, name


def test_the_headers_in_the_page_are_those_of_the_list():
    table = PAGE.partition("## Headers that SDKs read")[2]
    named = {name for name in re.findall(r"`([a-z-]+)`", table)}
    listed = {header["name"] for header in json.loads((CHAIN / "sdk_headers.json").read_text())}
    assert listed - {"content-type", "openai-poll-after-ms"} <= named

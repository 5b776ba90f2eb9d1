"""Python's clients as a program: each line of stdin is a call (JSON), each line of stdout what its client made of it."""

import json
import logging
import os
import sys
from collections.abc import Callable

Call = dict
Answer = dict

# Nothing but the gateway is asked, whatever a library would like to load.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false"}
logging.disable(logging.CRITICAL)


def with_openai(call: Call) -> Answer:
    from openai import OpenAI

    client = OpenAI(base_url=call["base_url"], api_key=call["key"], max_retries=call["retries"])
    wanted = {"encoding_format": call["format"]} if call["format"] else {}
    raw = client.embeddings.with_raw_response.create(model=call["model"], input=call["input"], **wanted)
    return {"vectors": [item.embedding for item in raw.parse().data], "headers": dict(raw.headers)}


def with_azure(call: Call) -> Answer:
    from openai import AzureOpenAI

    client = AzureOpenAI(azure_endpoint=call["base_url"], api_key=call["key"], api_version="2024-10-21", max_retries=call["retries"])
    raw = client.embeddings.with_raw_response.create(model=call["model"], input=call["input"])
    return {"vectors": [item.embedding for item in raw.parse().data], "headers": dict(raw.headers)}


def with_langchain(call: Call) -> Answer:
    from langchain_openai import OpenAIEmbeddings

    # Texts go as they are: else they are cut into tokens, for which tiktoken loads its vocabulary from the Internet.
    client = OpenAIEmbeddings(
        base_url=call["base_url"], api_key=call["key"], model=call["model"], max_retries=call["retries"], check_embedding_ctx_length=False
    )
    return {"vectors": client.embed_documents(call["input"])}


def with_langchain_tokens(call: Call) -> Answer:
    import tiktoken
    from langchain_openai import OpenAIEmbeddings

    # As LangChain asks without an option, with a vocabulary that is here: a token for each byte.
    tiktoken.encoding_for_model = lambda _: tiktoken.Encoding(
        "bytes", pat_str=r"(?s:.)", mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
    )
    client = OpenAIEmbeddings(base_url=call["base_url"], api_key=call["key"], model=call["model"], max_retries=call["retries"])
    return {"vectors": client.embed_documents(call["input"])}


def with_llamaindex(call: Call) -> Answer:
    from llama_index.embeddings.openai import OpenAIEmbedding

    client = OpenAIEmbedding(api_base=call["base_url"], api_key=call["key"], model_name=call["model"], max_retries=call["retries"])
    return {"vectors": client.get_text_embedding_batch(call["input"])}


def with_litellm(call: Call) -> Answer:
    import litellm

    answer = litellm.embedding(
        model=f"openai/{call['model']}",
        input=call["input"],
        api_base=call["base_url"],
        api_key=call["key"],
        max_retries=call["retries"],
        **({"encoding_format": call["format"]} if call["format"] else {}),
    )
    return {"vectors": [item["embedding"] for item in answer.data]}


def with_haystack(call: Call) -> Answer:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder
    from haystack.utils import Secret

    embedder = OpenAIDocumentEmbedder(
        api_base_url=call["base_url"],
        api_key=Secret.from_token(call["key"]),
        model=call["model"],
        max_retries=call["retries"],
        progress_bar=False,
        raise_on_failure=True,
    )
    documents = embedder.run([Document(content=text) for text in call["input"]])["documents"]
    return {"vectors": [document.embedding for document in documents]}


CLIENTS: dict[str, Callable[[Call], Answer]] = {
    "azure": with_azure,
    "openai": with_openai,
    "langchain": with_langchain,
    "langchain-tokens": with_langchain_tokens,
    "llamaindex": with_llamaindex,
    "litellm": with_litellm,
    "haystack": with_haystack,
}


def main() -> None:
    # Whatever a library prints is not an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            call = json.loads(line)
            answer = CLIENTS[call["client"]](call)
        except Exception as error:  # noqa: BLE001 # the tests judge it
            kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
            answer = {"error": kind, "status": getattr(error, "status_code", None), "message": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


main()

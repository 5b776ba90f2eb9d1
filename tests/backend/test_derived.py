"""Vectors of fewer dimensions that the gateway makes of full ones, as OpenAI's client sees them, against the upstream's own."""

import math

import openai
import pytest
from harness.secrets import secret

# Float16s over a norm, and plain 32-bit floats.
MODELS = ["text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001"]


def cosine(one: list[float], other: list[float]) -> float:
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(math.fsum(a * a for a in one) * math.fsum(b * b for b in other))


@pytest.fixture
def gateway(start):
    return start(DERIVE_DIMENSIONS=",".join(MODELS))


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=secret("derived"), max_retries=0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_derived_vectors_are_the_upstreams_own_to_a_millionth(gateway, standin, model, encoding):
    text = f"derived {model} {encoding}"
    ours, theirs = client(gateway.url), client(standin.url)
    for dimensions in (1, 3, 256, 512, 1024, 1535):
        derived = ours.embeddings.with_raw_response.create(model=model, input=text, dimensions=dimensions, **encoding)
        assert derived.headers["cache-status"].endswith("; detail=derived")
        found = derived.parse().data[0].embedding
        own = theirs.embeddings.create(model=model, input=text, dimensions=dimensions).data[0].embedding
        assert len(found) == dimensions
        assert cosine(found, own) >= 0.999999
        assert max(abs(a - b) for a, b in zip(found, own, strict=True)) <= 1e-6
        assert math.fsum(a * a for a in found) == pytest.approx(1, abs=1e-6)
    # The full one, the self-test's, and the six that were asked of the stand-in directly.
    assert standin.times_asked(text) == 2 + 6

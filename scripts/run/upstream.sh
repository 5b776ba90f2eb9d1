# shellcheck shell=bash
# The upstream of scripts/run.sh: OpenAI, the server that OPENAI_BASE_URL names, or the stand-in; and one of its models.
# Sourced by scripts/run.sh, which checks PORT first.

# Ollama and vLLM answer at once which models they have; the hints do not wait long for a server that does not.
readonly MODELS_SECONDS=5

has_own_upstream() { [ -n "${OPENAI_API_KEY:-}${OPENAI_BASE_URL:-}" ]; }

# A caller that still has the address from the hints in its environment would make the gateway ask itself.
check_upstream() {
  if [[ ${OPENAI_BASE_URL:-} =~ ^https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]):$PORT([/?]|$) ]]; then
    fail "OPENAI_BASE_URL: $OPENAI_BASE_URL is this gateway itself; unset it, or name the upstream"
  fi
}

# example_model UPSTREAM: the model that the hints name. OpenAI and the stand-in have this one; another upstream is asked.
example_model() {
  if [ -z "${OPENAI_BASE_URL:-}" ]; then
    echo text-embedding-3-small
  else
    models_of "$1" 2>/dev/null | pick_model || echo MODEL
  fi
}

# The key goes by standard input: every user of this machine can read the arguments of a command.
models_of() {
  local path=${1%%\?*} query=
  [[ $1 != *\?* ]] || query="?${1#*\?}"
  printf '%s' "${OPENAI_API_KEY:+header = \"Authorization: Bearer $OPENAI_API_KEY\"}" |
    curl -fsS -m "$MODELS_SECONDS" --config - "${path%/}/models$query"
}

# Of a list of models one that is for embeddings by its name, else the first. Only names that a shell does not change.
pick_model() {
  python3 -c '
import json, re, sys
names = [model["id"] for model in json.load(sys.stdin)["data"]]
plain = [name for name in names if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", name)]
meant = [name for name in plain if re.search(r"embed|bge|e5|gte|minilm|arctic|voyage", name, re.IGNORECASE)]
print((meant + plain)[0])' 2>/dev/null
}

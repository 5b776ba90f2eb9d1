//! The fields of a request, by what they do to its vectors.
//!
//! A field that is not known may change what a vector is (`late_chunking` couples the inputs of a
//! batch) or how it is written (`output_dtype`, `embed_dtype`, `endianness`), so a request that
//! has one is not understood.

use super::{Foreign, Rules};

/// What a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Model,
    Inputs,
    Dimensions,
    Encoding,
    /// It changes no vector: it goes upstream and stays out of the key.
    NoVector,
    /// It acts on each input by itself and leaves the format alone: it is part of the key.
    EachInput,
    /// It says nothing.
    Absent,
    /// The gateway cannot tell.
    Foreign(Foreign),
}

/// Fields that act on each input by itself and leave the vectors' format alone, and whose they
/// are. A value that is no string, number, boolean or `null` may still mean a list with a member
/// for each input, and is not understood.
pub const ACTS_ON_EACH_INPUT: [(&str, &str); 16] = [
    (
        "add_special_tokens",
        "vLLM, embeddings API: extra parameters",
    ),
    (
        "auto_truncate",
        "Google Vertex AI, text embeddings API: autoTruncate",
    ),
    (
        "input_type",
        "Cohere Embed, Voyage AI, NVIDIA NIM: API references",
    ),
    (
        "instruction",
        "Infinity and DeepInfra: the text put before each input",
    ),
    ("normalize", "Hugging Face TEI, /embed"),
    ("normalized", "Jina AI, embeddings API"),
    ("output_dimension", "Voyage AI, embeddings API"),
    (
        "prompt",
        "Hugging Face sentence-transformers servers: put before each input",
    ),
    ("prompt_name", "Hugging Face TEI, /embed"),
    ("task", "Jina AI, embeddings API"),
    ("task_type", "Google Gemini and Vertex AI: taskType"),
    ("title", "Google Gemini: of a RETRIEVAL_DOCUMENT"),
    (
        "truncate",
        "Hugging Face TEI, NVIDIA NIM, Cohere Embed, Jina AI",
    ),
    (
        "truncate_prompt_tokens",
        "vLLM, embeddings API: extra parameters",
    ),
    ("truncation", "Voyage AI, embeddings API"),
    ("truncation_direction", "Hugging Face TEI, /embed"),
];

/// What `"name": raw` does.
pub(super) fn meaning(name: &str, raw: &str, rules: &Rules) -> Meaning {
    match name {
        "model" => Meaning::Model,
        "input" => Meaning::Inputs,
        "dimensions" => Meaning::Dimensions,
        "encoding_format" => Meaning::Encoding,
        // OpenAI's API reference; LiteLLM for metadata.
        "user" | "safety_identifier" => no_vector(raw, is_text(raw)),
        "metadata" => no_vector(raw, raw.starts_with('{')),
        _ if rules.cacheable_fields.iter().any(|field| field == name) => Meaning::EachInput,
        _ if ACTS_ON_EACH_INPUT.iter().any(|(field, _)| *field == name) && is_scalar(raw) => {
            Meaning::EachInput
        }
        _ => Meaning::Foreign(Foreign::Field),
    }
}

fn no_vector(raw: &str, has_its_type: bool) -> Meaning {
    match raw {
        "null" => Meaning::Absent,
        _ if has_its_type => Meaning::NoVector,
        _ => Meaning::Foreign(Foreign::Shape),
    }
}

fn is_scalar(raw: &str) -> bool {
    !raw.starts_with(['[', '{'])
}

/// Whether `raw` is a JSON string that stands for Unicode text (no lone surrogate).
pub(super) fn is_text(raw: &str) -> bool {
    raw.starts_with('"') && (!raw.contains('\\') || serde_json::from_str::<String>(raw).is_ok())
}

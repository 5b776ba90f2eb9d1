//! The models that the stand-in offers, with the limits of the real ones.

/// Most inputs in one embeddings request.
pub(crate) const MAX_INPUTS: usize = 2048;
/// Most tokens in one input.
pub(crate) const MAX_INPUT_TOKENS: usize = 8192;
/// Most tokens in one embeddings request.
pub(crate) const MAX_REQUEST_TOKENS: usize = 300_000;

/// Models that chat, listed by `/v1/models` and accepted by the generating routes.
pub(crate) const CHAT_MODELS: [&str; 2] = ["gpt-4o-mini", "gpt-4.1"];

/// An embedding model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EmbeddingModel {
    /// The name that a request asks for.
    pub(crate) name: &'static str,
    /// The name that the answer carries.
    pub(crate) answered_as: &'static str,
    /// Length of its vectors, and the most that `dimensions` may ask for.
    pub(crate) dimensions: usize,
    /// Whether a request may shorten the vectors.
    pub(crate) shortens: bool,
    /// Whether its numbers are float16s over one norm, as OpenAI's are and others' are not.
    pub(crate) is_half: bool,
}

/// Every embedding model.
pub(crate) const EMBEDDING_MODELS: [EmbeddingModel; 4] = [
    EmbeddingModel {
        name: "text-embedding-3-small",
        answered_as: "text-embedding-3-small",
        dimensions: 1536,
        shortens: true,
        is_half: true,
    },
    EmbeddingModel {
        name: "text-embedding-3-large",
        answered_as: "text-embedding-3-large",
        dimensions: 3072,
        shortens: true,
        is_half: true,
    },
    EmbeddingModel {
        name: "text-embedding-ada-002",
        answered_as: "text-embedding-ada-002-v2",
        dimensions: 1536,
        shortens: false,
        is_half: true,
    },
    EmbeddingModel {
        name: "gemini-embedding-001",
        answered_as: "gemini-embedding-001",
        dimensions: 3072,
        shortens: true,
        is_half: false,
    },
];

/// The embedding model of that name.
pub(crate) fn embedding_model(name: &str) -> Option<&'static EmbeddingModel> {
    EMBEDDING_MODELS.iter().find(|model| model.name == name)
}

/// All names, as `/v1/models` lists them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDING_MODELS
        .iter()
        .map(|model| model.name)
        .chain(CHAT_MODELS)
}

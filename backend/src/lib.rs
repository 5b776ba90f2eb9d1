//! An OpenAI-compatible gateway that pays for an embedding once.

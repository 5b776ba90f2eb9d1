//! The generating routes: chat completions, completions and responses, streaming and not.
//!
//! They say the same sentence whatever they are asked; it is the way of the bytes that matters.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::models::CHAT_MODELS;
use crate::refusal::Refusal;

/// What is said, one word an event.
const WORDS: [&str; 8] = [
    "This ",
    "is ",
    "a ",
    "stand-in: ",
    "it ",
    "does ",
    "not ",
    "think.",
];
/// What asking is said to cost.
const PROMPT_TOKENS: usize = 9;
/// Answers are alike down to the byte, so they are all of one moment.
const CREATED: u64 = 1_750_000_000;

/// `POST /v1/chat/completions`.
pub(crate) fn chat(body: &Value) -> Result<Answer, Refusal> {
    let model = model(body)?;
    if !body["messages"].is_array() {
        return Err(Refusal::invalid("Missing required parameter: 'messages'."));
    }
    let answer = if streams(body) {
        Answer::events(&chat_events(
            model,
            &body["stream_options"]["include_usage"],
        ))
    } else {
        let message = json!({"role": "assistant", "content": WORDS.concat(), "refusal": null});
        let choice =
            json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
        Answer::json(object("chat.completion", model, &choice, &usage()).to_string())
    };
    Ok(answer.by(model, PROMPT_TOKENS + WORDS.len()))
}

fn chat_events(model: &str, with_usage: &Value) -> Vec<Value> {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        object("chat.completion.chunk", model, &choice, &Value::Null)
    };
    let mut events = vec![chunk(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    events.extend(WORDS.map(|word| chunk(json!({"content": word}), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    if with_usage == true {
        let mut last = object("chat.completion.chunk", model, &Value::Null, &usage());
        last["choices"] = json!([]);
        events.push(last);
    }
    events
}

/// `POST /v1/completions`.
pub(crate) fn completions(body: &Value) -> Result<Answer, Refusal> {
    let model = model(body)?;
    let said = |text: &str, finish: Value, usage: &Value| {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish});
        object("text_completion", model, &choice, usage)
    };
    let answer = if streams(body) {
        let mut events: Vec<Value> = WORDS
            .iter()
            .map(|word| said(word, Value::Null, &Value::Null))
            .collect();
        events.push(said("", json!("stop"), &Value::Null));
        Answer::events(&events)
    } else {
        Answer::json(said(&WORDS.concat(), json!("stop"), &usage()).to_string())
    };
    Ok(answer.by(model, PROMPT_TOKENS + WORDS.len()))
}

/// `POST /v1/responses`, whole answers only.
pub(crate) fn responses(body: &Value) -> Result<Answer, Refusal> {
    let model = model(body)?;
    if streams(body) {
        return Err(Refusal::invalid("The stand-in does not stream responses."));
    }
    let text = json!({"type": "output_text", "text": WORDS.concat(), "annotations": []});
    let message = json!({
        "type": "message", "id": "msg_standin", "status": "completed", "role": "assistant",
        "content": [text],
    });
    let response = json!({
        "id": "resp_standin", "object": "response", "created_at": CREATED, "status": "completed",
        "model": model, "output": [message], "parallel_tool_calls": true, "tool_choice": "auto",
        "tools": [], "error": null, "incomplete_details": null, "instructions": null,
        "metadata": {}, "temperature": 1.0, "top_p": 1.0,
        "usage": {
            "input_tokens": PROMPT_TOKENS, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": WORDS.len(), "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": PROMPT_TOKENS + WORDS.len(),
        },
    });
    Ok(Answer::json(response.to_string()).by(model, PROMPT_TOKENS + WORDS.len()))
}

fn model(body: &Value) -> Result<&str, Refusal> {
    let name = body["model"].as_str().ok_or_else(Refusal::missing_model)?;
    match CHAT_MODELS.contains(&name) {
        true => Ok(name),
        false => Err(Refusal::unknown_model(name)),
    }
}

fn streams(body: &Value) -> bool {
    body["stream"] == true
}

fn usage() -> Value {
    let words = WORDS.len();
    json!({
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": words,
        "total_tokens": PROMPT_TOKENS + words,
    })
}

fn object(kind: &str, model: &str, choice: &Value, usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-standin", "object": kind, "created": CREATED, "model": model,
        "choices": [choice], "usage": usage, "system_fingerprint": "fp_standin",
    })
}

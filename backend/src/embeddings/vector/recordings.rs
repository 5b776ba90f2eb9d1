//! Parts of vectors that real services answered, as public projects recorded them: which are
//! float16s over one number, and that every bit of all of them is kept.

use base64_simd::STANDARD;
use serde::Deserialize;

use super::*;

/// Each line says where its numbers come from, when they were recorded, and under which licence.
const RECORDED: &str = include_str!("../../../tests/golden/vectors.jsonl");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    model: String,
    /// How long the whole vector is.
    dimensions: usize,
    /// Which of its numbers these are.
    part: String,
    grid: bool,
    origin: String,
    commit: String,
    path: String,
    recorded: String,
    licence: String,
    /// Base64 of little-endian `f32`s.
    numbers: String,
}

fn recordings() -> Vec<Recording> {
    let recordings = RECORDED.lines().map(serde_json::from_str);
    recordings.collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_bit_of_every_recording_is_kept_and_what_is_float16s_takes_half_the_bytes() {
    for recording in recordings() {
        let model = &recording.model;
        let floats = STANDARD.decode_to_vec(&recording.numbers).unwrap();
        let vector = Vector::new(floats.clone());
        let mut decoded = Vec::new();
        vector.each_chunk(|chunk| decoded.extend_from_slice(chunk));
        assert_eq!(decoded, floats, "{model}");
        assert!(vector.is_sound() && vector.dimensions() <= recording.dimensions);
        assert_eq!(vector.halves().is_some(), recording.grid, "{model}");
        let bytes = floats.len() / if recording.grid { 2 } else { 1 };
        assert_eq!(vector.kept_bytes(), bytes, "{model}");
    }
}

#[test]
fn every_recording_names_its_origin_and_openais_are_all_float16s() {
    let recordings = recordings();
    for recording in &recordings {
        assert!(["MIT", "Apache-2.0", "BSD-3-Clause"].contains(&recording.licence.as_str()));
        assert!(recording.origin.starts_with("https://github.com/") && recording.commit.len() == 8);
        assert!(![&recording.path, &recording.recorded, &recording.part].contains(&&String::new()));
    }
    let is_openais = |recording: &&Recording| {
        ["text-embedding-3-", "text-embedding-ada-"]
            .iter()
            .any(|family| recording.model.starts_with(family))
    };
    let (openais, others): (Vec<_>, Vec<_>) = recordings.iter().partition(is_openais);
    assert!(openais.len() >= 7 && openais.iter().all(|recording| recording.grid));
    assert!(others.iter().any(|recording| recording.grid));
    assert!(others.iter().any(|recording| !recording.grid));
}

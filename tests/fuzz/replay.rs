//! Replays kept inputs of fuzz targets, and the same edits of them every time. The crates beside
//! the parsers include it: they share nothing else.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRng, TestRunner};

/// Edited inputs of each target: together some seconds of a debug build.
const EDITED: u32 = 1000;

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    /// Another byte in one place.
    Byte(Index, u8),
    /// Bytes out of another kept input, in this place.
    Splice(Index, Index, Index),
    /// No bytes from one place to another.
    Cut(Index, Index),
    /// The bytes from one place to another once more.
    Repeat(Index, Index),
}

/// A target's name and what it checks.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Runs every target on what the folder of its name in `root` holds.
pub(crate) fn replay(root: &str, targets: &[Target]) {
    for (name, check) in targets {
        let inputs = kept(&Path::new(root).join(name));
        assert!(!inputs.is_empty(), "{name}: nothing is kept");
        inputs.iter().for_each(|input| check(input));
        check_edited(&inputs, *check);
    }
}

fn kept(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn check_edited(inputs: &[Vec<u8>], check: fn(&[u8])) {
    let config = Config {
        cases: EDITED,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let cases = (any::<Index>(), proptest::collection::vec(edit(), 1..6));
    TestRunner::new_with_rng(config, rng)
        .run(&cases, |(chosen, edits)| {
            let mut input = chosen.get(inputs).clone();
            edits
                .iter()
                .for_each(|edit| apply(edit, &mut input, inputs));
            check(&input);
            Ok(())
        })
        .unwrap();
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (place(), place(), place()).prop_map(|(at, of, from)| Edit::Splice(at, of, from)),
        (place(), place()).prop_map(|(from, to)| Edit::Cut(from, to)),
        (place(), place()).prop_map(|(from, to)| Edit::Repeat(from, to)),
    ]
}

fn apply(edit: &Edit, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
    let place = |index: &Index| index.index(input.len() + 1);
    match edit {
        Edit::Byte(at, byte) if !input.is_empty() => {
            let at = at.index(input.len());
            input[at] = *byte;
        }
        Edit::Byte(_, byte) => input.push(*byte),
        Edit::Splice(at, of, from) => {
            let (at, other) = (place(at), of.get(inputs));
            let begin = from.index(other.len() + 1);
            let end = other.len().min(begin + 64);
            input.splice(at..at, other[begin..end].iter().copied());
        }
        Edit::Cut(from, to) => {
            let (from, to) = (place(from), place(to));
            input.drain(from.min(to)..from.max(to).min(from.min(to) + 64));
        }
        Edit::Repeat(from, to) => {
            let (from, to) = (place(from), place(to));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
            let repeated = input[from..to].to_vec();
            input.splice(to..to, repeated);
        }
    }
}

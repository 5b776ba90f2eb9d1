//! Divides the answer to a call that several requests made together: each gets what is its own.

use super::{Answer, Unsound, shares};
use crate::embeddings::request::Input;

impl Answer {
    /// The parts of an answer to `inputs`, of which each part has so many, in order. What was
    /// charged is divided as it is among inputs, and places count from each part's beginning.
    pub fn divide(self, inputs: &[Input], counts: &[usize]) -> Vec<Self> {
        let Self {
            entries,
            fault,
            is_named,
            billed_tokens,
        } = self;
        let mut tokens = shares(billed_tokens, inputs).into_iter();
        let mut entries = entries.into_iter();
        let mut begin = 0;
        let part = |&count: &usize| {
            let entries: Vec<_> = entries.by_ref().take(count).collect();
            let worthless = entries.iter().position(Option::is_none);
            let fault = worthless.map(|place| match &fault {
                Some(Unsound::Undecodable(index)) if *index == begin + place => {
                    Unsound::Undecodable(place)
                }
                _ => Unsound::Worthless(place),
            });
            begin += count;
            Self {
                entries,
                fault,
                is_named,
                billed_tokens: tokens.by_ref().take(count).sum(),
            }
        };
        counts.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::embeddings::entry::Entry;
    use crate::embeddings::request::InputKind;

    /// An answer to as many inputs as `sound`, of which some vectors are worthless.
    fn answer(sound: &[bool], billed_tokens: u64) -> (Vec<Input>, Answer) {
        let input = |place: usize| Input {
            raw: "x".repeat(2 + place % 7).into(),
            kind: InputKind::Text,
        };
        let inputs: Vec<Input> = (0..sound.len()).map(input).collect();
        let tokens = shares(billed_tokens, &inputs);
        let entry = |(place, tokens): (usize, u64)| Entry {
            model: "m".into(),
            tokens: u32::try_from(tokens).unwrap(),
            created_ms: 1,
            vector: [place as f32 + 1.0].into_iter().collect(),
        };
        let entries = tokens.into_iter().enumerate().map(entry);
        let entries = entries.zip(sound).map(|(entry, &is)| is.then_some(entry));
        let fault = sound.iter().position(|is| !is);
        let answer = Answer {
            entries: entries.collect(),
            fault: fault.map(Unsound::Undecodable),
            is_named: true,
            billed_tokens,
        };
        (inputs, answer)
    }

    fn parts() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
        proptest::collection::vec(1..6_usize, 1..20).prop_flat_map(|counts| {
            let inputs = counts.iter().sum::<usize>();
            let sound = proptest::collection::vec(proptest::bool::weighted(0.9), inputs);
            (Just(counts), sound)
        })
    }

    proptest! {
        #[test]
        fn each_part_has_its_own_vectors_and_all_that_was_charged_is_told_once(
            (counts, sound) in parts(), billed in 0..100_000_u64
        ) {
            let (inputs, whole) = answer(&sound, billed);
            let entries = whole.entries.clone();
            let parts = whole.divide(&inputs, &counts);
            let lengths: Vec<usize> = parts.iter().map(|part| part.entries.len()).collect();
            prop_assert_eq!(&lengths, &counts);
            let charged: u64 = parts.iter().map(|part| part.billed_tokens).sum();
            prop_assert_eq!(charged, billed);
            for part in &parts {
                let own: u64 = part.entries.iter().flatten().map(|entry| u64::from(entry.tokens)).sum();
                prop_assert!(own <= part.billed_tokens);
                let place = part.entries.iter().position(Option::is_none);
                let told = part.fault.as_ref().map(|fault| match fault {
                    Unsound::Undecodable(place) | Unsound::Worthless(place) => *place,
                    other => panic!("{other}"),
                });
                prop_assert_eq!(place, told);
            }
            let divided: Vec<_> = parts.into_iter().flat_map(|part| part.entries).collect();
            prop_assert_eq!(divided, entries);
        }
    }
}

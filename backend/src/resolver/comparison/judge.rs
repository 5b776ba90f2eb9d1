//! Which upstreams of a model gave the same vectors, and whether the model has drifted.

use crate::embeddings::entry::Entry;
use crate::embeddings::similarity::cosine;

/// Vectors of one model are this alike, wherever it runs: what differs is the order of sums.
const SAME: f64 = 0.9999;

/// Below, the model itself is another.
const DRIFTED: f64 = 0.999;

/// What the answers of a model's upstreams say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    /// For each upstream, in order, whether it gives the vectors that the others and the pinned
    /// ones are; `None` if it did not answer.
    pub(super) same: Vec<Option<bool>>,
    /// How alike the vectors of the first upstream are to the pinned ones, if it answered.
    pub(super) similarity: Option<f64>,
    /// Whether the first upstream itself gives others than it did.
    pub(super) has_drifted: bool,
    /// Whose vectors are to be pinned, where none are.
    pub(super) pins: Option<usize>,
    /// Whose vectors the others were compared with, if not with the pinned ones.
    pub(super) measure: Option<usize>,
}

/// Judges what each upstream answered, in order, by the pinned vectors.
///
/// Where any gives the pinned vectors, those who do not are others. Where none does, the first one
/// has drifted, for its vectors are what the keys stand for; that another one differs from the
/// pinned ones is no drift.
pub(super) fn judge(pinned: Option<&[Entry]>, answers: &[Option<&[Entry]>]) -> Judgement {
    let first = answers.first().copied().flatten();
    let by = |measure: &[Entry]| {
        let same = |answer: &Option<&[Entry]>| Some(similarity(measure, (*answer)?) >= SAME);
        answers.iter().map(same).collect::<Vec<_>>()
    };
    let Some(pinned) = pinned else {
        let pins = answers.iter().position(Option::is_some);
        let measure = pins.and_then(|place| answers[place]);
        return Judgement {
            same: by(measure.unwrap_or_default()),
            similarity: None,
            has_drifted: false,
            pins,
            measure: pins,
        };
    };
    let similarity = first.map(|first| similarity(pinned, first));
    let by_pinned = by(pinned);
    let any_holds = by_pinned.contains(&Some(true));
    let (same, measure) = match first.filter(|_| !any_holds) {
        Some(first) => (by(first), Some(0)),
        None => (by_pinned, None),
    };
    Judgement {
        same,
        similarity,
        has_drifted: !any_holds && similarity.is_some_and(|alike| alike < DRIFTED),
        pins: None,
        measure,
    }
}

/// Of the texts, the one whose vectors are least alike.
fn similarity(measure: &[Entry], answer: &[Entry]) -> f64 {
    if measure.is_empty() || measure.len() != answer.len() {
        return 0.0;
    }
    let pairs = measure.iter().zip(answer);
    let cosines = pairs.map(|(one, other)| cosine(&one.vector, &other.vector));
    cosines.fold(1.0, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(angle: f32) -> Option<Vec<Entry>> {
        let vector = [angle.cos(), angle.sin()];
        Some(vec![Entry {
            model: "m".into(),
            tokens: 0,
            created_ms: 0,
            vector: vector.into_iter().collect(),
        }])
    }

    /// The angle whose cosine is this.
    fn of(cosine: f64) -> f32 {
        cosine.acos() as f32
    }

    fn judged(pinned: Option<f32>, angles: &[Option<f32>]) -> Judgement {
        let pinned = pinned.and_then(answer);
        let answers: Vec<_> = angles.iter().map(|angle| angle.and_then(answer)).collect();
        let answers: Vec<_> = answers.iter().map(Option::as_deref).collect();
        judge(pinned.as_deref(), &answers)
    }

    #[test]
    fn the_first_that_answers_is_pinned_and_measures_the_others() {
        let judged = judged(None, &[None, Some(0.5), Some(0.5), Some(0.6)]);
        assert_eq!(judged.pins, Some(1));
        assert_eq!(judged.same, [None, Some(true), Some(true), Some(false)]);
        assert!(!judged.has_drifted);
    }

    #[test]
    fn who_differs_from_the_pinned_vectors_is_out_while_another_does_not() {
        let near = of(0.99995);
        let judged = judged(Some(0.0), &[Some(of(0.9998)), Some(near), None]);
        assert_eq!(judged.same, [Some(false), Some(true), None]);
        assert!(!judged.has_drifted && judged.pins.is_none());
    }

    #[test]
    fn the_first_drifts_and_others_follow_it_or_are_out() {
        let far = of(0.9);
        let drifted = judged(Some(0.0), &[Some(far), Some(far), Some(far + 0.1)]);
        assert_eq!(drifted.same, [Some(true), Some(true), Some(false)]);
        assert!(drifted.has_drifted);
        // It serves, and differs too little to be another model.
        let little = judged(Some(0.0), &[Some(of(0.9995))]);
        assert_eq!(little.same, [Some(true)]);
        assert!(!little.has_drifted);
    }

    #[test]
    fn another_one_alone_does_not_drift() {
        let judged = judged(Some(0.0), &[None, Some(of(0.9))]);
        assert_eq!(judged.same, [None, Some(false)]);
        assert!(!judged.has_drifted);
    }
}

use super::*;

const SAME: Likeness = Likeness {
    cosine: 0.999_999_9,
    norm: 1.000_02,
};

fn entry(model: &str, numbers: usize) -> Entry {
    Entry {
        model: model.into(),
        tokens: 1,
        created_ms: 5,
        vector: vec![1.0; numbers].into_iter().collect(),
    }
}

fn set() -> Key {
    [1; 32].into()
}

/// What is known of model `m`.
struct Case(Derivations);

impl Case {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self(Derivations::new(vec!["m".into()], metrics))
    }

    fn see(&self, answered: &str, length: Option<usize>) {
        self.0.see(&set(), &"m".into(), &answered.into(), length);
    }

    fn judge(&self, full: &Entry, found: Likeness) {
        self.see(&full.model, Some(full.dimensions()));
        self.0.judge(&set(), &"m".into(), full, found);
    }

    fn way(&self, dimensions: usize) -> Way {
        self.0.way(&set(), dimensions)
    }

    fn off(&self) -> usize {
        self.0.metrics.derivations_off.count()
    }
}

fn full(entry: &Entry) -> Way {
    Way::Derive(Full {
        model: Arc::clone(&entry.model),
        length: entry.dimensions(),
    })
}

#[test]
fn what_a_self_test_found_holds_for_all_shorter_vectors() {
    let case = Case::new();
    assert_eq!(case.way(4), Way::Test);
    let entry = entry("m-1", 8);
    case.judge(&entry, SAME);
    for (dimensions, way) in [
        (1, full(&entry)),
        (7, full(&entry)),
        (8, Way::Ordinary),
        (9, Way::Ordinary),
    ] {
        assert_eq!(case.way(dimensions), way, "{dimensions}");
    }
    assert_eq!(
        case.0.way(&[2; 32].into(), 4),
        Way::Test,
        "other parameters"
    );
    assert_eq!(case.off(), 0);
}

#[test]
fn another_direction_or_length_turns_derivation_off() {
    let (cosine, norm) = (SAME.cosine, SAME.norm);
    for (cosine, norm) in [
        (0.999_98, norm),
        (-1.0, norm),
        (f64::NAN, norm),
        (cosine, 0.998),
        (cosine, 1.002),
        (cosine, f64::NAN),
    ] {
        let case = Case::new();
        case.judge(&entry("m-1", 8), Likeness { cosine, norm });
        assert_eq!(case.way(4), Way::Ordinary, "{cosine} {norm}");
        assert_eq!(case.off(), 1);
    }
}

#[test]
fn a_model_that_answers_under_another_name_is_tested_again_and_a_known_one_is_not() {
    let case = Case::new();
    let (one, other) = (entry("m-1", 8), entry("m-2", 8));
    case.judge(
        &one,
        Likeness {
            cosine: 0.5,
            norm: 1.0,
        },
    );
    assert_eq!((case.way(4), case.off()), (Way::Ordinary, 1));
    case.see("m-1", None);
    assert_eq!((case.way(4), case.off()), (Way::Ordinary, 1));
    case.see("m-2", None);
    assert_eq!((case.way(4), case.off()), (Way::Test, 0));
    case.judge(&other, SAME);
    assert_eq!(case.way(4), full(&other));
    case.see("m-1", Some(8));
    assert_eq!((case.way(4), case.off()), (Way::Ordinary, 1));
    case.see("m-2", None);
    assert_eq!((case.way(4), case.off()), (full(&other), 0));
    // The same name with vectors of another length.
    case.see("m-2", Some(16));
    assert_eq!(case.way(4), Way::Test);
}

#[tokio::test(start_paused = true)]
async fn a_self_test_that_could_not_be_made_is_made_later() {
    let case = Case::new();
    case.0.pause(&set(), &"m".into());
    assert_eq!((case.way(4), case.off()), (Way::Ordinary, 0));
    tokio::time::advance(PAUSE).await;
    assert_eq!(case.way(4), Way::Test);
    // The pause ends nothing that is known.
    let entry = entry("m-1", 8);
    case.judge(&entry, SAME);
    case.0.pause(&set(), &"m".into());
    assert_eq!(case.way(4), full(&entry));
}

#[test]
fn sets_of_parameters_and_names_are_bounded() {
    let case = Case::new();
    let asked = "m".into();
    for n in 0..=u16::try_from(MAX_SETS).unwrap() {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        case.0.see(&bytes.into(), &asked, &"m-1".into(), Some(8));
    }
    assert_eq!(case.0.sets.read().unwrap().len(), MAX_SETS);
    assert_eq!(case.0.way(&[9; 32].into(), 4), Way::Ordinary);
    let known = [0; 32].into();
    for n in 0..100 {
        case.0
            .see(&known, &asked, &format!("m-{n}").into(), Some(8));
    }
    assert_eq!(
        case.0.sets.read().unwrap()[&known].answered.len(),
        MAX_NAMES
    );
}

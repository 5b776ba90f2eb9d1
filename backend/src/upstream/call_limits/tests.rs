use super::*;

const LIMITS: CallLimits = CallLimits {
    inputs: 4,
    tokens: 8000,
    bytes: 40_000,
};

fn texts(bytes: usize, count: usize) -> Vec<Size> {
    let size = Size {
        inputs: 1,
        bytes,
        text_bytes: bytes,
        tokens: 0,
    };
    vec![size; count]
}

fn model() -> Arc<str> {
    "m".into()
}

#[test]
fn calls_hold_no_more_than_the_limits() {
    let limits = LearntLimits::new(LIMITS);
    assert_eq!(limits.divide("m", texts(10, 9)), [4, 4, 1]);
    assert_eq!(limits.divide("m", []), [0; 0]);
    // Of half a token a byte, and a tenth more.
    assert_eq!(limits.divide("m", texts(7000, 4)), [2, 2]);
    // What fits into no call goes alone.
    assert_eq!(limits.divide("m", texts(50_000, 2)), [1, 1]);
    let tokens = Size {
        inputs: 1,
        bytes: 30,
        text_bytes: 0,
        tokens: 5000,
    };
    assert_eq!(limits.divide("m", [tokens, tokens]), [1, 1]);
}

#[test]
fn a_text_has_no_more_tokens_than_bytes() {
    let limits = LearntLimits::new(LIMITS);
    let size: Size = texts(8000, 1).into_iter().sum();
    limits.answered(&model(), size, 9000);
    assert_eq!(limits.divide("m", texts(4000, 3)), [2, 1]);
}

#[test]
fn answers_tell_how_dense_a_models_texts_are() {
    let limits = LearntLimits::new(LIMITS);
    let size: Size = texts(7000, 2).into_iter().sum();
    limits.answered(&model(), size, 3500);
    assert_eq!(limits.divide("m", texts(7000, 4)), [4]);
    // A sparser answer is believed slowly, a denser one at once.
    limits.answered(&model(), size, 14_000);
    assert_eq!(limits.divide("m", texts(7000, 4)), [1, 1, 1, 1]);
    limits.answered(&model(), size, 3500);
    assert_eq!(limits.divide("m", texts(7000, 4)), [1, 1, 1, 1]);
    assert_eq!(limits.divide("other", texts(7000, 4)), [2, 2]);
}

#[test]
fn refusals_teach_limits() {
    let limits = LearntLimits::new(LIMITS);
    let size: Size = texts(1000, 4).into_iter().sum();
    let over = |measure, stated| OverLimit { measure, stated };
    limits.refused(&model(), over(Measure::Inputs, Some(3)), size, 0);
    assert_eq!(limits.divide("m", texts(10, 4)), [3, 1]);
    // A number that cannot be the limit is none.
    limits.refused(&model(), over(Measure::Tokens, Some(8192)), size, 2000);
    assert_eq!(limits.divide("m", texts(1000, 4)), [2, 2]);
    limits.refused(&model(), over(Measure::Bytes, None), size, 2000);
    assert_eq!(limits.divide("m", texts(2900, 2)), [1, 1]);
    // No limit rises by a refusal.
    limits.refused(&model(), over(Measure::Inputs, Some(9)), size, 0);
    assert_eq!(limits.divide("m", texts(10, 4)), [3, 1]);
}

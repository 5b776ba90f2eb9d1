use half::f16;
use proptest::prelude::*;

use super::halves::{narrow, widen};
use super::*;

/// The answers of real services that the tests of the gateway replay; their README says where each
/// comes from. Each number of theirs is a float16 over one `f32`.
const RECORDED: [(&str, usize); 5] = [
    (
        include_str!("../../../tests/gateway/answers/openai/200-float.http"),
        1,
    ),
    (
        include_str!("../../../tests/gateway/answers/openai/200-base64.http"),
        1,
    ),
    (
        include_str!("../../../tests/gateway/answers/openai/200-tokens.http"),
        3,
    ),
    (
        include_str!("../../../tests/gateway/answers/azure/200-base64.http"),
        1,
    ),
    (
        include_str!("../../../tests/gateway/answers/azure/200-base64-large.http"),
        1,
    ),
];

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn vector(numbers: &[f32]) -> Vector {
    numbers.iter().copied().collect()
}

/// Decodes what was encoded, and tells whether it takes half the bytes.
#[track_caller]
fn is_halved(numbers: &[f32]) -> bool {
    let vector = vector(numbers);
    assert_eq!(bits(&vector.to_floats()), bits(numbers));
    assert_eq!(vector.dimensions(), numbers.len());
    assert_eq!(vector.float_bytes(), 4 * numbers.len());
    let halved = vector.halves().is_some();
    assert_eq!(
        vector.kept_bytes(),
        numbers.len() * if halved { 2 } else { 4 }
    );
    halved
}

/// Float16s as a model computes them: of all sizes, and most of them near the largest.
fn model_numbers(count: usize, seed: u32) -> Vec<f16> {
    let number = |n: usize| ((n as f32 + 1.0) * (seed as f32 + 0.7)).sin() * 1.7;
    (0..count).map(|n| f16::from_f32(number(n))).collect()
}

fn over(numbers: &[f16], norm: f32) -> Vec<f32> {
    numbers.iter().map(|half| half.to_f32() / norm).collect()
}

/// The vectors of an answer, read without the code under test.
fn recorded(exchange: &str) -> Vec<Vec<f32>> {
    let (_, answered) = exchange.split_once("\n\nHTTP/1.1 ").unwrap();
    let (_, body) = answered.split_once("\n\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let numbers = |item: &serde_json::Value| match &item["embedding"] {
        serde_json::Value::String(text) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
            floats(&bytes).collect()
        }
        list => serde_json::from_value(list.clone()).unwrap(),
    };
    body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect()
}

#[test]
fn what_openai_and_azure_answered_takes_half_the_bytes_and_keeps_every_bit() {
    for (exchange, count) in RECORDED {
        let vectors = recorded(exchange);
        assert_eq!(vectors.len(), count);
        for numbers in vectors {
            assert!(numbers.len() >= 512);
            assert!(is_halved(&numbers));
        }
    }
}

#[test]
fn one_bit_beside_the_grid_is_kept_too() {
    let numbers = recorded(RECORDED[0].0).remove(0);
    for place in [0, 1, 700, 1535] {
        for neighbour in [f32::next_up, f32::next_down] {
            let mut numbers = numbers.clone();
            numbers[place] = neighbour(numbers[place]);
            assert!(!is_halved(&numbers), "{place}");
        }
    }
}

#[test]
fn the_norm_may_have_been_divided_by_or_its_inverse_multiplied_with() {
    for count in [64, 256, 1536, 3072] {
        for seed in 0..4 {
            let halves = model_numbers(count, seed);
            let squares = halves.iter().map(|half| half.to_f64().powi(2));
            let norm = squares.sum::<f64>().sqrt();
            let each =
                |scale: &dyn Fn(f16) -> f32| halves.iter().map(|&half| scale(half)).collect();
            let narrow = norm as f32;
            let vectors: [Vec<f32>; 5] = [
                each(&|half| half.to_f32() / narrow),
                each(&|half| half.to_f32() / narrow.next_up()),
                each(&|half| half.to_f32() * narrow.recip()),
                each(&|half| (half.to_f64() / norm) as f32),
                each(&|half| (half.to_f64() * norm.recip()) as f32),
            ];
            for (manner, numbers) in vectors.iter().enumerate() {
                assert!(is_halved(numbers), "{count} numbers, manner {manner}");
            }
        }
    }
}

#[test]
fn vectors_of_other_models_stay_as_they_are() {
    for count in [64, 1536] {
        let numbers: Vec<f32> = (1..=count).map(|n| (n as f32).sin() / 27.7).collect();
        assert!(!is_halved(&numbers));
    }
    // Few different numbers let many scales pass the first look.
    let two: Vec<f32> = (0..1536)
        .map(|n| [0.3, 0.1][n % 2] * [1.0, -1.0][n % 3 % 2])
        .collect();
    is_halved(&two);
}

#[test]
fn what_is_no_vector_is_kept_all_the_same() {
    for odd in [
        &[][..],
        &[0.0],
        &[0.0, -0.0],
        &[f32::NAN, 1.0],
        &[f32::INFINITY, 1.0],
        &[f32::MAX, f32::MIN_POSITIVE, 1.0],
        &[f32::from_bits(1), -f32::from_bits(1)],
    ] {
        is_halved(odd);
    }
    assert!(is_halved(&[1.0, -0.0, 0.5]));
}

#[test]
fn unsound_vectors_are_noticed() {
    assert!(vector(&[0.0, -0.1]).is_sound());
    for bad in [
        &[][..],
        &[0.0, -0.0],
        &[1.0, f32::NAN],
        &[f32::INFINITY, 1.0],
    ] {
        assert!(!vector(bad).is_sound(), "{bad:?}");
    }
}

#[test]
fn all_float16s_are_widened_as_ieee_754_says_and_narrowed_back() {
    for number in 0..=u16::MAX {
        let wanted = f16::from_bits(number);
        if wanted.is_finite() {
            let widened = widen(number);
            let exact = f64::from(widened) * 2_f64.powi(112);
            assert_eq!(exact.to_bits(), f64::from(wanted).to_bits(), "{number:#x}");
            assert_eq!(narrow(widened), number);
        }
    }
}

fn any_half() -> impl Strategy<Value = f16> {
    any::<u16>().prop_map(|bits| match f16::from_bits(bits) {
        half if half.is_finite() => half,
        _ => f16::from_bits(bits & 0x83ff),
    })
}

fn any_factor() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(|bits| f32::from_bits(bits & 0x7fff_ffff))
}

proptest! {
    #[test]
    fn no_bit_of_a_grid_is_lost(
        halves in proptest::collection::vec(any_half(), 1..500),
        norm in any_factor(),
        multiplied in any::<bool>(),
    ) {
        let scale = |half: &f16| if multiplied { half.to_f32() * norm } else { half.to_f32() / norm };
        let numbers: Vec<f32> = halves.iter().map(scale).collect();
        is_halved(&numbers);
    }

    #[test]
    fn a_grid_of_a_usual_scale_is_found(
        large in proptest::collection::vec(0x6000_u16..0x7c00, 16..32),
        others in proptest::collection::vec(any_half(), 0..500),
        norm in 1e-3_f32..1e3,
    ) {
        let large = large.into_iter().map(f16::from_bits);
        let halves: Vec<f16> = large.chain(others).collect();
        prop_assert!(is_halved(&over(&halves, norm)));
    }

    #[test]
    fn no_bit_of_anything_is_lost(numbers in proptest::collection::vec(any::<u32>(), 0..500)) {
        let numbers: Vec<f32> = numbers.into_iter().map(f32::from_bits).collect();
        is_halved(&numbers);
    }

    #[test]
    fn a_usable_scale_decodes_to_what_it_says(
        halves in proptest::collection::vec(any_half(), 1..50),
        by in any_factor(),
        wide in any::<u64>(),
    ) {
        let wide = f64::from_bits(wide & (u64::MAX >> 1));
        let scales: [(Scale, &dyn Fn(f16) -> f32); 3] = [
            (Scale::Divide(by), &|half| half.to_f32() / by),
            (Scale::Multiply(by), &|half| half.to_f32() * by),
            (Scale::MultiplyWide(wide), &|half| (half.to_f64() * wide) as f32),
        ];
        for (scale, says) in scales.into_iter().filter(|(scale, _)| scale.is_usable()) {
            let numbers = halves.iter().map(|half| half.to_bits()).collect();
            let decoded = Vector::of_halves(Halves { scale, numbers }).to_floats();
            let wanted: Vec<f32> = halves.iter().map(|&half| says(half)).collect();
            prop_assert_eq!(bits(&decoded), bits(&wanted), "{:?}", scale);
        }
    }
}

//! A shorter vector, made of a longer one as Matryoshka models make it: the first numbers, which
//! say most, scaled to length 1 again.

use super::{Form, Vector, floats};

/// Sums that grow side by side, so that none waits for the one before.
const LANES: usize = 8;

impl Vector {
    /// The first numbers as a vector of length 1. `None` if there are not more than so many, or if
    /// they are all zero. The numbers must be finite.
    pub fn shortened(&self, dimensions: usize) -> Option<Self> {
        if dimensions == 0 || dimensions >= self.dimensions() {
            return None;
        }
        let mut numbers = self.first(dimensions);
        let norm = squares(&numbers).sqrt();
        if norm == 0.0 {
            return None;
        }
        scale(&mut numbers, norm.recip());
        Some(Self(Form::Floats(numbers.into())))
    }

    /// The little-endian `f32`s of the first numbers.
    fn first(&self, dimensions: usize) -> Vec<u8> {
        match &self.0 {
            Form::Floats(bytes) => bytes[..dimensions * size_of::<f32>()].to_vec(),
            Form::Halves(halves) => {
                let mut numbers = Vec::with_capacity(dimensions * size_of::<f32>());
                let append = |chunk: &[u8]| numbers.extend_from_slice(chunk);
                halves.each_chunk_of(dimensions, append);
                numbers
            }
        }
    }

    /// The cosine of the angle between two vectors of one length, and the second one's length.
    pub fn compare(&self, other: &Self) -> Option<Likeness> {
        let (own, others) = (self.to_floats(), other.to_floats());
        let wide = |number: &f32| f64::from(*number);
        let square = |numbers: &[f32]| numbers.iter().map(wide).map(|n| n * n).sum::<f64>();
        let pairs = own.iter().map(wide).zip(others.iter().map(wide));
        let product: f64 = pairs.map(|(one, other)| one * other).sum();
        let norm = square(&others).sqrt();
        let likeness = Likeness {
            cosine: product / (square(&own).sqrt() * norm),
            norm,
        };
        (own.len() == others.len()).then_some(likeness)
    }
}

/// How like another vector is to one of length 1.
#[derive(Clone, Copy, Debug)]
pub struct Likeness {
    /// 1 if both point the same way.
    pub cosine: f64,
    /// The other one's length.
    pub norm: f64,
}

/// The sum of all squares.
fn squares(vector: &[u8]) -> f64 {
    let (groups, rest) = vector.as_chunks::<{ LANES * size_of::<f32>() }>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for (sum, number) in sums.iter_mut().zip(floats(group)) {
            *sum += f64::from(number) * f64::from(number);
        }
    }
    let rest = floats(rest).map(f64::from).map(|number| number * number);
    sums.into_iter().chain(rest).sum()
}

fn scale(vector: &mut [u8], factor: f64) {
    let (numbers, _) = vector.as_chunks_mut::<4>();
    for number in numbers {
        let scaled = f64::from(f32::from_le_bytes(*number)) * factor;
        *number = (scaled as f32).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;

    /// What truncation and division give in `f64`, rounded once.
    fn oracle(numbers: &[f32], dimensions: usize) -> Vec<f32> {
        let prefix = numbers[..dimensions].iter().map(|&n| f64::from(n));
        let norm = prefix.clone().map(|n| n.powi(2)).sum::<f64>().sqrt();
        prefix.map(|number| (number / norm) as f32).collect()
    }

    /// How many `f32`s lie between two numbers.
    fn apart(one: f32, other: f32) -> u32 {
        let place = |number: f32| {
            let magnitude = (number.to_bits() & 0x7fff_ffff).cast_signed();
            if number.is_sign_negative() {
                -magnitude
            } else {
                magnitude
            }
        };
        place(one).abs_diff(place(other))
    }

    #[track_caller]
    fn is_derived(numbers: &[f32], dimensions: usize) {
        let vector: Vector = numbers.iter().copied().collect();
        let found = vector.shortened(dimensions);
        let possible = (1..numbers.len()).contains(&dimensions)
            && numbers[..dimensions].iter().any(|&n| n != 0.0);
        assert_eq!(found.is_some(), possible);
        let Some(found) = found else { return };
        assert!(found.is_sound());
        let expected = oracle(numbers, dimensions);
        let found = found.to_floats();
        assert_eq!(found.len(), dimensions);
        for (&one, &other) in found.iter().zip(&expected) {
            assert!(apart(one, other) <= 1, "{one:e} {other:e}");
        }
    }

    fn finite() -> impl Strategy<Value = f32> {
        prop_oneof![
            -1.0..1.0_f32,
            any::<f32>().prop_filter("finite", |number| number.is_finite()),
            Just(0.0),
            Just(-0.0),
            Just(f32::from_bits(1)),
            Just(f32::MAX),
        ]
    }

    proptest! {
        #[test]
        fn it_is_what_an_f64_oracle_says(
            numbers in proptest::collection::vec(finite(), 1..70),
            dimensions in 0..80_usize,
        ) {
            is_derived(&numbers, dimensions);
        }

        #[test]
        fn it_is_the_same_of_float16s(
            bits in proptest::collection::vec(0x2000..0x3c00_u16, 400..900),
            norm in 0.5..40.0_f32,
            dimensions in 1..900_usize,
        ) {
            let numbers: Vec<f32> =
                bits.iter().map(|&bits| f16::from_bits(bits).to_f32() / norm).collect();
            is_derived(&numbers, dimensions);
        }
    }

    #[test]
    fn zeros_are_no_direction_and_whole_vectors_are_not_touched() {
        let vector: Vector = [0.0, -0.0, 3.0, 4.0].into_iter().collect();
        assert!(vector.shortened(2).is_none());
        assert!(vector.shortened(4).is_none() && vector.shortened(5).is_none());
        assert!(vector.shortened(0).is_none());
        assert_eq!(vector.shortened(3).unwrap().to_floats(), [0.0, -0.0, 1.0]);
    }

    #[test]
    fn the_likeness_of_vectors_tells_their_angle_and_length() {
        let vector = |numbers: [f32; 2]| numbers.into_iter().collect::<Vector>();
        let like = vector([1.0, 0.0]).compare(&vector([0.0, 3.0])).unwrap();
        assert_eq!((like.cosine, like.norm), (0.0, 3.0));
        let like = vector([0.6, 0.8]).compare(&vector([3.0, 4.0])).unwrap();
        assert!((like.cosine - 1.0).abs() < 1e-7 && like.norm == 5.0);
        let longer: Vector = [1.0, 0.0, 0.0].into_iter().collect();
        assert!(vector([1.0, 0.0]).compare(&longer).is_none());
    }
}

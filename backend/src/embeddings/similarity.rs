//! How alike two vectors are.

use super::vector::Vector;

/// The cosine of the angle between two vectors; 0 if they are of different lengths.
pub fn cosine(one: &Vector, other: &Vector) -> f64 {
    if one.dimensions() != other.dimensions() {
        return 0.0;
    }
    let (one, other) = (one.to_floats(), other.to_floats());
    let pairs = one.iter().zip(&other);
    let pairs = pairs.map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let (mut product, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        product += a * b;
        first += a * a;
        second += b * b;
    }
    let cosine = product / (first * second).sqrt();
    match cosine.is_finite() {
        true => cosine,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(numbers: &[f32]) -> Vector {
        numbers.iter().copied().collect()
    }

    #[test]
    fn length_does_not_count_and_direction_does() {
        let one = vector(&[1.0, 2.0, -3.0]);
        assert!((cosine(&one, &vector(&[2.0, 4.0, -6.0])) - 1.0).abs() < 1e-12);
        assert!(cosine(&one, &vector(&[-1.0, -2.0, 3.0])) < -0.999);
        assert!(cosine(&vector(&[1.0, 0.0]), &vector(&[0.0, 1.0])).abs() < 1e-12);
        assert_eq!(cosine(&one, &vector(&[1.0, 2.0])), 0.0);
    }
}

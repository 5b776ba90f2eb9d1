//! A vector as a JSON list: for each number the shortest decimal that reads back as the same
//! `f32`, the nearest one if there are several.
//!
//! Components of unit vectors lie in a small range. There a number times a power of ten fits
//! into 64 bits without a rest, so the digits come from one exact multiplication (the idea is
//! Raffaello Giulietti's Schubfach), and are written without a branch that depends on them.
//! All other numbers take the general way; a test holds the two equal.

use super::vector::Vector;

/// What one number may take, and what is written beyond its end for the next one to replace.
const WINDOW: usize = 24;

/// Numbers for which room is made at once.
const NUMBERS_AT_ONCE: usize = 16;

/// Room that is taken beyond the end of a list while it is written.
pub(super) const SLACK: usize = NUMBERS_AT_ONCE * WINDOW;

/// The least exponent, as an `f32` stores it, of the range: that of 2⁻¹⁹. Smaller numbers are
/// written with an `e`.
const FIRST_EXPONENT: u32 = 108;

/// Exponents of the range; it ends below 1.
const EXPONENTS: usize = 127 - FIRST_EXPONENT as usize;

/// Bits of a product that stand behind its point.
const POINT: u32 = 38;

/// 1 as a product.
const ONE: u64 = 1 << POINT;

/// How numbers of one exponent become decimal.
#[derive(Clone, Copy)]
struct DecimalScale {
    /// A significand times this is the number times 10^w, where 10^-w is the least power of ten
    /// that is greater than the distance to the next number.
    factor: u64,
    /// Where the eight digits of the product begin, before the sign moves them: w - 5.
    begin: u64,
}

/// By exponent. The length is a power of two, so that an index needs no check.
const SCALES: [DecimalScale; 32] = scales();

/// The three digits of a number below 1,000, the first in the lowest byte.
const TRIPLES: [u32; 1024] = triples();

/// How a number begins, by its sign; digits replace the surplus zeros.
const BEGINNINGS: [[u8; 8]; 2] = [*b",0.00000", *b",-0.0000"];

const ASCII_ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// Appends the list of the numbers of `vector`, which must be finite.
pub(super) fn push_list(body: &mut Vec<u8>, vector: &Vector) {
    let begin = body.len();
    let mut end = begin;
    vector.each_chunk(|floats| end = push_numbers(body, end, floats));
    body.truncate(end);
    match body.get_mut(begin) {
        Some(comma) => *comma = b'[',
        None => body.push(b'['),
    }
    body.push(b']');
}

/// Writes little-endian `f32`s, each behind a comma, and returns where they end.
fn push_numbers(body: &mut Vec<u8>, mut end: usize, floats: &[u8]) -> usize {
    let (numbers, _) = floats.as_chunks::<4>();
    for some in numbers.chunks(NUMBERS_AT_ONCE) {
        body.resize(end + SLACK, 0);
        for &number in some {
            if let Some(window) = body[end..].first_chunk_mut() {
                end += write(f32::from_le_bytes(number), window);
            }
        }
    }
    end
}

/// Writes a comma and the number, and returns how many bytes they take.
#[inline(always)]
fn write(number: f32, window: &mut [u8; WINDOW]) -> usize {
    let bits = number.to_bits();
    let exponent = bits >> 23 & 0xff;
    let fraction = bits & 0x007f_ffff;
    let index = exponent.wrapping_sub(FIRST_EXPONENT) as usize;
    // Next to a power of two its neighbours are not equally far.
    if index >= EXPONENTS || fraction == 0 {
        return write_rare(number, window);
    }
    let DecimalScale { factor, begin } = SCALES[index % SCALES.len()];
    let significand = u64::from(fraction | 0x0080_0000);
    let product = significand * factor;
    let (whole, rest) = (product / ONE, product % ONE);

    // What lies within half the distance to a neighbour reads back as this number; what lies in
    // the middle does if this one is even.
    let reach = factor / 2 + u64::from(significand.is_multiple_of(2));
    let (down, up) = (rest < reach, rest + reach > ONE);
    let digits = eight_digits(whole + u64::from(up));
    let kept = 8 - (digits | 1).leading_zeros() as usize / 8;
    // If neither whole number is near enough, one more digit is; the even one of two.
    let tie = u64::from(rest == ONE / 4);
    let ninth = (rest * 10 + ONE / 2 - tie) / ONE;

    let sign = (bits >> 31) as usize;
    let at = sign + (begin % 8) as usize;
    window[..8].copy_from_slice(&BEGINNINGS[sign]);
    window[at..at + 8].copy_from_slice(&(digits + ASCII_ZEROS).to_le_bytes());
    window[at + 8] = b'0' + ninth as u8;
    // A leading zero may have come here.
    window[sign + 2] = b'.';
    at + std::hint::select_unpredictable(down | up, kept, 9)
}

/// The digits of a number below 2^25, as values, the first in the lowest byte.
#[inline(always)]
fn eight_digits(number: u64) -> u64 {
    // Multiplications in place of divisions; exact for numbers as small as these.
    let thousands = (number * 274_877_907) >> 38;
    let millions = (thousands * 16_778) >> 24;
    let triple = |n: u64| u64::from(TRIPLES[n as usize % TRIPLES.len()]);
    triple(millions) >> 8
        | triple(thousands - 1000 * millions) << 16
        | triple(number - 1000 * thousands) << 40
}

#[cold]
#[inline(never)]
fn write_rare(number: f32, window: &mut [u8; WINDOW]) -> usize {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number).as_bytes();
    window[0] = b',';
    window[1..=text.len()].copy_from_slice(text);
    1 + text.len()
}

const fn scales() -> [DecimalScale; 32] {
    let mut scales = [DecimalScale {
        factor: 0,
        begin: 0,
    }; 32];
    let mut index = 0;
    while index < EXPONENTS {
        // A number of this exponent is its significand over 2^bits.
        let bits = 127 + 23 - FIRST_EXPONENT - index as u32;
        let mut width = 0;
        while 10_u64.pow(width + 1) < 1 << bits {
            width += 1;
        }
        scales[index] = DecimalScale {
            factor: 5_u64.pow(width) << (POINT + width - bits),
            begin: width as u64 - 5,
        };
        index += 1;
    }
    scales
}

const fn triples() -> [u32; 1024] {
    let mut triples = [0; 1024];
    let mut n = 0;
    while n < 1000 {
        triples[n as usize] = (n / 100) | (n / 10 % 10) << 8 | (n % 10) << 16;
        n += 1;
    }
    triples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many neighbours one is tried: a prime, and 1.6 million tries.
    const STEP: usize = 97;

    #[track_caller]
    fn check(number: f32) {
        let mut window = [0; WINDOW];
        let length = write(number, &mut window);
        let mut buffer = zmij::Buffer::new();
        let expected = buffer.format_finite(number);
        assert_eq!(window[0], b',');
        assert_eq!(&window[1..length], expected.as_bytes(), "{number:e}");
    }

    #[test]
    fn the_fast_way_and_the_general_way_write_the_same() {
        let first = FIRST_EXPONENT << 23;
        let last = (FIRST_EXPONENT + EXPONENTS as u32) << 23;
        for bits in (first..last).step_by(STEP) {
            check(f32::from_bits(bits));
            check(-f32::from_bits(bits));
        }
    }

    #[test]
    fn the_edges_of_the_range_and_what_lies_outside() {
        for exponent in 0..255_u32 {
            for fraction in [0, 1, 2, 0x003f_ffff, 0x0040_0000, 0x007f_fffe, 0x007f_ffff] {
                check(f32::from_bits(exponent << 23 | fraction));
                check(-f32::from_bits(exponent << 23 | fraction));
            }
        }
    }

    #[test]
    fn a_list_has_its_brackets_and_commas_whatever_is_in_it() {
        let list = |numbers: &[f32]| {
            let vector = numbers.iter().copied().collect();
            let mut body = b"x".to_vec();
            push_list(&mut body, &vector);
            String::from_utf8(body).unwrap()
        };
        assert_eq!(list(&[]), "x[]");
        assert_eq!(list(&[0.5]), "x[0.5]");
        assert_eq!(
            list(&[-0.1, 0.0, 1e-9, 3e20, 0.025_000_002]),
            "x[-0.1,0.0,1e-9,3e+20,0.025000002]"
        );
        for count in [15, 16, 17, 1536] {
            let numbers: Vec<f32> = (0..count).map(|n| (n as f32 - 700.5) / 12_345.6).collect();
            let read: Vec<f32> = serde_json::from_str(&list(&numbers)[1..]).unwrap();
            assert_eq!(read, numbers);
        }
    }
}

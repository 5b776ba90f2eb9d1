use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// Written by `objects.py` beside it, after the description alone.
const GOLDEN: &str = include_str!("../../../tests/golden/objects.jsonl");

const KEY: [u8; 32] = [7; 32];

#[derive(Deserialize)]
struct Golden {
    key: String,
    model: String,
    tokens: u32,
    created_ms: u64,
    /// Its `f32`s, little-endian, in hexadecimal digits.
    vector: String,
    object: String,
}

fn entry(numbers: &[f32]) -> Entry {
    Entry {
        model: "text-embedding-ada-002-v2".into(),
        tokens: 8,
        created_ms: 1_700_000_000_123,
        vector: numbers.iter().copied().collect(),
    }
}

/// One that is float16s, and one that is not.
fn both() -> [Entry; 2] {
    let both = [
        entry(&[0.5, -1.25, 3.0]),
        entry(&[
            0.1,
            -0.23,
            0.317,
            0.123_456_7,
            0.091_827,
            -0.271_828,
            0.314_159,
        ]),
    ];
    assert_eq!(
        both.each_ref().map(|entry| entry.vector.halves().is_some()),
        [true, false]
    );
    both
}

fn bytes(digits: &str) -> Vec<u8> {
    let byte = |place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn objects() -> [Vec<u8>; 2] {
    both().map(|entry| entry.to_object(&KEY.into()))
}

/// An object of format 2 with these bytes in place of manner, factor and numbers.
fn made_up(manner: u8, factor: f64, halves: &[u16], decoded: &[f32]) -> Vec<u8> {
    let mut object = entry(&[1.0]).to_object(&KEY.into());
    object.truncate(54 + "text-embedding-ada-002-v2".len());
    object[48..52].copy_from_slice(&(halves.len() as u32).to_le_bytes());
    object.push(manner);
    object.extend_from_slice(&factor.to_le_bytes());
    object.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    let decoded = decoded.iter().flat_map(|number| number.to_le_bytes());
    let hashed: Vec<u8> = object.iter().copied().chain(decoded).collect();
    object.extend_from_slice(&Sha256::digest(hashed));
    object
}

#[test]
fn an_object_reads_back() {
    for (entry, object) in both().into_iter().zip(objects()) {
        assert_eq!(Entry::from_object(&KEY.into(), &object), Ok(entry));
    }
}

#[test]
fn the_golden_objects_are_written_and_read() {
    let mut formats = [0, 0];
    for line in GOLDEN.lines() {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let key = Key::from(<[u8; 32]>::try_from(bytes(&golden.key)).unwrap());
        let object = bytes(&golden.object);
        let entry = Entry {
            model: golden.model.into(),
            tokens: golden.tokens,
            created_ms: golden.created_ms,
            vector: Vector::new(bytes(&golden.vector)),
        };
        assert_eq!(Entry::from_object(&key, &object), Ok(entry.clone()));
        let format = usize::from(object[3] - b'1');
        formats[format] += 1;
        // What is float16s is written as such, whatever it was read from.
        let written = entry.to_object(&key);
        assert_eq!(written[3] == b'2', entry.vector.halves().is_some());
        // More than one `f64` may give back every bit.
        let is_wide = matches!(
            entry.vector.halves().map(|halves| halves.scale),
            Some(Scale::MultiplyWide(_))
        );
        if written[3] == object[3] && !is_wide {
            assert_eq!(written, object);
        }
    }
    assert_eq!(formats, [2, 3]);
}

#[test]
fn half_precision_takes_half_the_bytes() {
    let numbers: Vec<f32> = (1_i16..=1536).map(|n| f32::from(n - 700) / 812.6).collect();
    let object = entry(&numbers).to_object(&KEY.into());
    assert_eq!(object.len(), 54 + 25 + 9 + 2 * 1536 + 32);
    assert_eq!(
        entry(&numbers).float_object_bytes(),
        54 + 25 + 4 * 1536 + 32
    );
    let [_, floats] = both();
    assert_eq!(
        floats.float_object_bytes(),
        floats.to_object(&KEY.into()).len()
    );
}

#[test]
fn another_keys_object_is_misplaced() {
    for object in objects() {
        let other = [8; 32].into();
        assert_eq!(
            Entry::from_object(&other, &object),
            Err(ObjectFault::Misplaced)
        );
    }
}

#[test]
fn every_truncation_is_damage() {
    for object in objects() {
        for length in 0..object.len() {
            let cut = Entry::from_object(&KEY.into(), &object[..length]);
            assert_eq!(cut, Err(ObjectFault::Damaged));
        }
    }
}

#[test]
fn every_flipped_bit_is_damage() {
    for object in objects() {
        for bit in 0..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Entry::from_object(&KEY.into(), &flipped);
            assert_eq!(read, Err(ObjectFault::Damaged), "{bit}");
        }
    }
}

#[test]
fn what_float16s_decode_to_is_part_of_the_checksum() {
    let read = |object: &[u8]| Entry::from_object(&KEY.into(), object);
    assert!(read(&made_up(1, 2.0, &[0x3c00, 0x4000], &[0.5, 1.0])).is_ok());
    assert!(read(&made_up(2, 2.0, &[0x3c00, 0x4000], &[2.0, 4.0])).is_ok());
    assert!(read(&made_up(3, 0.1, &[0x3c00, 0x4000], &[0.1, 0.2])).is_ok());
    let other_decoder = made_up(1, 2.0, &[0x3c00, 0x4000], &[0.5, 1.0_f32.next_up()]);
    assert_eq!(read(&other_decoder), Err(ObjectFault::Damaged));
}

#[test]
fn a_whole_object_with_a_scale_or_numbers_that_no_gateway_writes_is_damaged() {
    let infinite = [f32::INFINITY, 1.0];
    for (manner, factor, halves, decoded) in [
        (0, 1.0, [0x3c00, 0x3c00], [1.0, 1.0]),
        (4, 1.0, [0x3c00, 0x3c00], [1.0, 1.0]),
        // Not an f32.
        (1, 0.1, [0x3c00, 0x3c00], [10.0, 10.0]),
        (1, 0.0, [0x3c00, 0x3c00], infinite),
        (1, -1.0, [0x3c00, 0x3c00], [-1.0, -1.0]),
        (1, f64::NAN, [0x3c00, 0x3c00], [f32::NAN, f32::NAN]),
        (
            2,
            f64::INFINITY,
            [0x3c00, 0x3c00],
            [f32::INFINITY, f32::INFINITY],
        ),
        (1, 1.0, [0x7c00, 0x3c00], infinite),
        // What moved bits make of infinity.
        (1, 1.0, [0x7c00, 0x3c00], [65536.0, 1.0]),
        (1, 1.0, [0, 0x8000], [0.0, -0.0]),
        // Beyond the largest f32.
        (3, 1e38, [0x7bff, 0x3c00], [f32::INFINITY, 1e38]),
    ] {
        let object = made_up(manner, factor, &halves, &decoded);
        let read = Entry::from_object(&KEY.into(), &object);
        assert_eq!(
            read,
            Err(ObjectFault::Damaged),
            "{manner} {factor} {halves:x?}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_entry(object in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Entry::from_object(&KEY.into(), &object), Err(ObjectFault::Damaged));
    }

    #[test]
    fn every_vector_reads_back(bits in proptest::collection::vec(any::<u16>(), 1..100), norm in 0.001_f32..1000.0) {
        let numbers: Vec<f32> = bits.iter().map(|&bits| half::f16::from_bits(bits).to_f32() / norm).collect();
        let entry = entry(&numbers);
        let read = Entry::from_object(&KEY.into(), &entry.to_object(&KEY.into()));
        prop_assert_eq!(read, if entry.vector.is_sound() { Ok(entry) } else { Err(ObjectFault::Damaged) });
    }
}

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules {
        max_inputs: 3,
        max_input_bytes: 40,
        cacheable_fields: vec!["vouched".into()],
    }
}

fn read(line: &str) -> Result<Record, RecordFault> {
    Record::parse(&Bytes::copy_from_slice(line.as_bytes()), &rules())
}

fn floats_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn a_line_names_an_input_and_its_vector() {
    let read =
        read(r#" {"id": 7, "input": "a", "embedding": [0.5, -1e-3], "tokens": 3} "#).unwrap();
    assert_eq!(&read.input.raw[..], br#""a""#);
    assert_eq!(read.floats, floats_of(&[0.5, -0.001]));
    assert_eq!((read.tokens, read.model.clone()), (Some(3), None));
    assert_eq!(read.tokens_or_estimate(), (3, true));
}

#[test]
fn base64_and_lists_of_tokens_are_taken_and_tokens_are_counted() {
    let base64 = base64_simd::STANDARD.encode_to_string(floats_of(&[1.5]));
    let line = format!(r#"{{"input":[5,6,7],"embedding":"{base64}","model":"m"}}"#);
    let read = read(&line).unwrap();
    assert_eq!(read.floats, floats_of(&[1.5]));
    assert_eq!(read.tokens_or_estimate(), (3, true));
    assert_eq!(read.model.as_deref(), Some("m"));
}

#[test]
fn tokens_may_be_written_as_a_whole_float() {
    let read = |tokens| {
        read(&format!(
            r#"{{"input":"a","embedding":[1],"tokens":{tokens}}}"#
        ))
    };
    assert_eq!(read("3.0").unwrap().tokens, Some(3));
    for tokens in ["0.0", "3.5", "3.00", "1e1", "-1.0"] {
        assert_eq!(read(tokens), Err(RecordFault::Tokens), "{tokens}");
    }
}

#[test]
fn what_a_text_costs_is_estimated_where_no_record_says_it() {
    for (text, about) in [("", 1), ("a", 1), ("abcde", 2), ("abcdefgh", 2)] {
        let line = format!(r#"{{"input":"{text}","embedding":[1],"tokens":null}}"#);
        assert_eq!(read(&line).unwrap().tokens_or_estimate(), (about, false));
    }
}

#[test]
fn a_list_of_one_text_is_that_text() {
    let line = r#"{"input":["a"],"embedding":[1]}"#;
    assert_eq!(&read(line).unwrap().input.raw[..], br#""a""#);
}

#[test]
fn each_fault_has_its_words() {
    use RecordFault as U;
    let long = format!(r#"{{"input":"{}","embedding":[1]}}"#, "x".repeat(50));
    let nested = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let nested = format!(r#"{{"input":"a","embedding":{nested}}}"#);
    for (line, fault) in [
        ("", U::NotJson),
        ("{", U::NotJson),
        (r#""a""#, U::NotJson),
        (r#"{"input":"a","embedding":[1]}{}"#, U::NotJson),
        (r#"{"input":"a","embedding":[NaN]}"#, U::NotANumber),
        (r#"{"input":"a","embedding":[-Infinity]}"#, U::NotANumber),
        (r#"[{"input":"a","embedding":[1]}]"#, U::List),
        ("[", U::List),
        (
            r#"{"input":"a","embedding":[1],"inp\u0075t":"b"}"#,
            U::Repeated,
        ),
        (r#"{"text":"a","embedding":[1]}"#, U::Absent("input")),
        (r#"{"input":"a","vector":[1]}"#, U::Absent("embedding")),
        (r#"{"input":null,"embedding":[1]}"#, U::Input),
        (r#"{"input":"\ud800","embedding":[1]}"#, U::Input),
        (r#"{"input":[],"embedding":[1]}"#, U::Input),
        (&long, U::Input),
        (r#"{"input":["a","b"],"embedding":[1]}"#, U::Inputs(2)),
        (r#"{"input":"a","embedding":[]}"#, U::Embedding),
        (r#"{"input":"a","embedding":null}"#, U::Embedding),
        (r#"{"input":"a","embedding":["1"]}"#, U::Embedding),
        (r#"{"input":"a","embedding":[[1]]}"#, U::Embedding),
        (&nested, U::Embedding),
        (r#"{"input":"a","embedding":"AAA"}"#, U::Embedding),
        (r#"{"input":"a","embedding":[0,-0.0]}"#, U::Worthless),
        (r#"{"input":"a","embedding":[1e39]}"#, U::Worthless),
        (r#"{"input":"a","embedding":""}"#, U::Worthless),
        (r#"{"input":"a","embedding":[1],"tokens":-1}"#, U::Tokens),
        (r#"{"input":"a","embedding":[1],"tokens":0}"#, U::Tokens),
        (r#"{"input":"a","embedding":[1],"model":7}"#, U::Model),
        (
            r#"{"input":"a","embedding":[1],"input_type":"query"}"#,
            U::Field("input_type".into()),
        ),
        (
            r#"{"input":"a","embedding":[1],"vouched":1}"#,
            U::Field("vouched".into()),
        ),
    ] {
        assert_eq!(read(line), Err(fault), "{line}");
    }
    let bytes = Bytes::from_static(b"{\"input\":\"\xff\"}");
    assert_eq!(Record::parse(&bytes, &rules()), Err(U::NotUtf8));
}

proptest! {
    #[test]
    fn any_vector_reads_back_bit_for_bit(bits in proptest::collection::vec(any::<u32>(), 1..20)) {
        let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|n| n.is_finite()).collect();
        let mut text = Vec::new();
        crate::embeddings::decimal::push_list(&mut text, &numbers.iter().copied().collect());
        let line = format!(r#"{{"input":"a","embedding":{}}}"#, String::from_utf8(text).unwrap());
        match read(&line) {
            Ok(record) => prop_assert_eq!(record.floats, floats_of(&numbers)),
            Err(fault) => prop_assert!(numbers.iter().all(|&n| n == 0.0), "{}", fault),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        _ = Record::parse(&Bytes::from(line), &rules());
    }
}

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules {
        max_inputs: 3,
        max_input_bytes: 4096,
        cacheable_fields: vec!["vouched".into()],
    }
}

fn read(body: &str) -> Result<Parsed, Refused> {
    parse(&Bytes::copy_from_slice(body.as_bytes()), &rules())
}

fn understood(body: &str) -> EmbeddingRequest {
    match read(body) {
        Ok(Parsed::Understood(request)) => request,
        other => panic!("{body}: {other:?}"),
    }
}

#[track_caller]
fn assert_foreign(body: &str) {
    assert!(matches!(read(body), Ok(Parsed::Foreign(_))), "{body}");
}

fn with_input(input: &str) -> String {
    format!(r#"{{"model":"m","input":{input}}}"#)
}

#[test]
fn the_four_shapes_of_input_are_understood() {
    let shape = |input: &str| {
        let kinds = understood(&with_input(input))
            .inputs
            .into_iter()
            .map(|i| i.kind);
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(shape(r#""a""#), [InputKind::Text]);
    assert_eq!(shape(r#"["a","b"]"#), [InputKind::Text, InputKind::Text]);
    assert_eq!(shape("[1,2,3]"), [InputKind::Tokens(3)]);
    assert_eq!(
        shape("[[1],[2,3]]"),
        [InputKind::Tokens(1), InputKind::Tokens(2)]
    );
}

#[test]
fn an_unknown_shape_of_input_is_foreign() {
    for input in [
        "[]",
        "[[]]",
        "{}",
        "null",
        "1",
        "true",
        r#"["a",1]"#,
        r#"[1,"a"]"#,
        r#"["a",["b"]]"#,
        "[1.5]",
        "[-1]",
        "[1.0]",
        "[4294967296]",
        "[[1],2]",
        "[null]",
        r#"[{"text":"a"}]"#,
    ] {
        assert_foreign(&with_input(input));
    }
}

#[test]
fn json_that_is_no_request_is_foreign() {
    for body in [
        "{}",
        "[]",
        "\"\"",
        "null",
        "17",
        r#"{"model":"m"}"#,
        r#"{"input":"a"}"#,
    ] {
        assert_foreign(body);
    }
    for model in ["1", "null", "\"\""] {
        assert_foreign(&format!(r#"{{"model":{model},"input":"a"}}"#));
    }
}

#[test]
fn known_fields_of_a_wrong_type_are_foreign() {
    for field in [
        r#""dimensions":0"#,
        r#""dimensions":-1"#,
        r#""dimensions":256.0"#,
        r#""dimensions":"256""#,
        r#""dimensions":4294967296"#,
        r#""encoding_format":"hex""#,
        r#""encoding_format":1"#,
        r#""user":1"#,
        r#""user":"\ud800""#,
    ] {
        assert_foreign(&format!(r#"{{"model":"m","input":"a",{field}}}"#));
    }
}

#[test]
fn a_repeated_name_is_foreign_however_it_is_spelt() {
    assert_foreign(r#"{"model":"m","input":"a","input":"b"}"#);
    assert_foreign(r#"{"model":"m","input":"a","inp\u0075t":"b"}"#);
    assert_foreign(r#"{"model":"m","input":"a","x":{"y":1,"y":2}}"#);
}

#[test]
fn a_lone_surrogate_is_foreign() {
    assert_foreign(&with_input(r#""\ud800""#));
    assert_foreign(&with_input(r#"["a","\udc00x"]"#));
    assert_foreign(r#"{"model":"m","input":"a","\ud800":1}"#);
}

#[test]
fn what_is_not_json_is_refused() {
    for body in [
        "",
        " ",
        "{",
        "{]",
        "nul",
        r#"{"a":1}x"#,
        "{'a':1}",
        "\u{feff}{}",
        "NaN",
    ] {
        assert_eq!(read(body).err(), Some(Refused::NotJson), "{body}");
    }
    assert_eq!(
        parse(&Bytes::from_static(b"\"\xff\""), &rules()).err(),
        Some(Refused::NotJson)
    );
    assert_eq!(
        parse(&Bytes::from_static(b"{\"input\":\"\xc3\"}"), &rules()).err(),
        Some(Refused::NotJson)
    );
}

#[test]
fn null_means_absent() {
    let request = understood(
        r#"{"model":"m","input":"a","dimensions":null,"encoding_format":null,"user":null}"#,
    );
    assert_eq!(request.dimensions, None);
    assert_eq!(request.encoding.unwrap_or_default(), Encoding::Float);
    assert_eq!(request.unkeyed, "");
    assert_eq!(request.extra, "");
}

#[test]
fn fields_that_act_on_each_input_are_kept_in_canonical_form() {
    let request = understood(
        r#"{"truncate": 1.50, "input":"a", "vouched":{"d":1, "c":"\u0041"}, "model":"m","task":9007199254740993}"#,
    );
    assert_eq!(
        request.extra,
        r#""task":9007199254740993,"truncate":1.50,"vouched":{"c":"A","d":1}"#
    );
    for (field, _) in ACTS_ON_EACH_INPUT {
        let body = format!(r#"{{"model":"m","input":"a","{field}":"x"}}"#);
        assert_eq!(understood(&body).extra, format!(r#""{field}":"x""#));
    }
}

#[test]
fn a_field_that_may_change_the_vector_or_its_format_is_foreign() {
    for field in [
        r#""output_dtype":"int8""#,
        r#""embed_dtype":"float16""#,
        r#""endianness":"big""#,
        r#""late_chunking":true"#,
        r#""embedding_type":"binary""#,
        r#""x":null"#,
        // A member for each input?
        r#""input_type":["query","document"]"#,
        r#""task":{"a":1}"#,
        r#""Truncate":true"#,
    ] {
        let parsed = read(&format!(r#"{{"model":"m","input":"a",{field}}}"#));
        assert!(
            matches!(parsed, Ok(Parsed::Foreign(Foreign::Field))),
            "{field}"
        );
    }
}

#[test]
fn fields_that_change_no_vector_are_kept_as_written() {
    let request = understood(
        r#"{"model":"m","input":"a","user":"\u0075","metadata":{"b": 1},"safety_identifier":"s"}"#,
    );
    assert_eq!(
        request.unkeyed,
        r#""user":"\u0075","metadata":{"b": 1},"safety_identifier":"s""#
    );
    assert_eq!(request.extra, "");
    assert_foreign(r#"{"model":"m","input":"a","metadata":[1]}"#);
    assert_foreign(r#"{"model":"m","input":"a","safety_identifier":1}"#);
}

#[test]
fn too_large_fields_are_foreign() {
    let long = "x".repeat(MAX_EXTRA_BYTES);
    for field in ["truncate", "user", "vouched"] {
        assert_foreign(&format!(
            r#"{{"model":"m","input":"a","{field}":"{long}"}}"#
        ));
    }
}

#[test]
fn reading_ends_at_the_limits() {
    let many = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
    for element in [r#""""#, "[1]"] {
        assert_eq!(understood(&with_input(&many(element, 3))).inputs.len(), 3);
        let refused = read(&with_input(&many(element, 4))).err();
        assert_eq!(refused, Some(Refused::TooManyInputs), "{element}");
    }
    let long = format!("\"{}\"", "x".repeat(4096));
    for (input, place) in [
        (long.clone(), 0),
        (format!("[\"a\",{long}]"), 1),
        (many("1", 4096), 0),
        (format!("[[1],[1],{}]", many("1", 4096)), 2),
    ] {
        let refused = read(&with_input(&input)).err();
        assert_eq!(refused, Some(Refused::InputTooLarge(place)));
    }
    let names: Vec<_> = (0..100).map(|n| format!("\"{n}\":0")).collect();
    assert_foreign(&format!("{{{}}}", names.join(",")));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = parse(&Bytes::from(body), &rules());
    }

    #[test]
    fn any_text_is_understood_and_kept_as_written(text in any::<String>()) {
        let raw = serde_json::to_string(&text).unwrap();
        let request = understood(&with_input(&raw));
        prop_assert_eq!(&request.inputs[0].raw[..], raw.as_bytes());
    }
}

//! What careless operators do: each mistake is told in words that help, and nothing is half done.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Place, SHARED, objects, refused, told, tool};

const GOOD: &str = "{\"input\":\"a\",\"embedding\":[1,2]}\n";

#[track_caller]
fn refuses(text: impl AsRef<[u8]>, options: &[&str], words: &[&str]) {
    let place = Place::new();
    let file = place.file("in.jsonl", text);
    let arguments = [&["import", &*file, "--model", "m"], options].concat();
    let (status, said) = refused(&tool(&place.store(), SHARED, &arguments));
    assert!(matches!(status, Some(1 | 64)), "{said}");
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(objects(&place.store()).is_empty(), "{said}");
}

#[test]
fn a_fault_names_its_line_and_nothing_is_written() {
    let with = |line: &str| format!("\u{feff}{GOOD}\r\n{line}\r\n{GOOD}");
    for (line, words) in [
        (
            "{\"input\":\"b\",\"embedding\":[1,NaN]}",
            "is no JSON: it holds NaN or Infinity",
        ),
        (
            "{\"input\":\"b\",\"embedding\":[1,1e99]}",
            "\"embedding\" is empty, all zero or not finite",
        ),
        (
            "{\"input\":\"b\",\"embedding\":[]}",
            "\"embedding\" is no list of numbers",
        ),
        (
            "{\"input\":\"b\",\"embedding\":[1,2,3]}",
            "has 3 numbers instead of 2",
        ),
        (
            "{\"input\":\"a\",\"embedding\":[1,3]}",
            "has the input of line 1, and other numbers",
        ),
        (
            "{\"input\":\"b\",\"embedding\":[1,2],\"model\":\"n\"}",
            "is of the model \"n\"",
        ),
        ("{\"input\":\"b\"", "is not one whole JSON object"),
        ("[1]", "is a JSON list"),
    ] {
        refuses(
            with(line),
            &[],
            &[&format!("in.jsonl:3: {words}"), "nothing of it was written"],
        );
    }
    let many = "{}\n".repeat(1000);
    refuses(many, &[], &["in.jsonl:20: has no \"input\"", "and so on"]);
}

#[test]
fn a_file_that_is_none_of_vectors_is_refused() {
    for (text, words) in [
        (&b""[..], "holds no vectors"),
        (b"\n\r\n \n", "holds no vectors"),
        (b"\xff\xfe{\0", "is UTF-16"),
        (b"\x1f\x8b\x08", "is compressed"),
        (b"PK\x03\x04", "is compressed"),
        (b"ARROW1\0\0", "is an Arrow file: write it as Parquet"),
        (b"\x93NUMPY\x01", "is a NumPy file"),
        (b"PAR1", "is no Parquet that can be read"),
        (b"[\n{\"input\":\"a\",\"embedding\":[1]}\n]", "jq -c '.[]'"),
        (b"{\n  \"input\": \"a\",\n", "jq -c ."),
        (b"input,embedding\na,1\n", "is not one whole JSON object"),
    ] {
        refuses(text, &[], &[words]);
    }
    let mut long = vec![b'x'; (16 << 20) + 1];
    long.extend_from_slice(GOOD.as_bytes());
    refuses(long, &[], &["line 1: is longer than 16777216 bytes"]);
}

#[test]
fn a_damaged_parquet_file_is_told_without_a_panic_of_its_reader() {
    let place = Place::stocked(12);
    let target = place.path("vectors.parquet");
    let export = ["export", "--format", "parquet", "-o", &target];
    told(&tool(&place.store(), &[], &export));
    let sound = std::fs::read(&target).unwrap();
    // Where a page says how many values it holds, and around it.
    for damaged in 1090..1100 {
        let mut file = sound.clone();
        file[damaged] ^= 0xff;
        std::fs::write(&target, file).unwrap();
        let import = ["import", &target, "--model", "m", "--dry-run"];
        let (status, said) = refused(&tool(&place.store(), SHARED, &import));
        assert_eq!(status, Some(1), "{damaged}: {said}");
        assert!(said.contains("vectors.parquet"), "{damaged}: {said}");
        assert!(!said.contains("panicked"), "{damaged}: {said}");
    }
}

#[test]
fn options_that_contradict_the_environment_are_refused() {
    refuses(
        GOOD,
        &["--dimensions", "3"],
        &["in.jsonl:1: has 2 numbers instead of 3"],
    );
    refuses(
        GOOD,
        &["--fields", "[]"],
        &["--fields: must be a JSON object"],
    );
    refuses(GOOD, &["--fields", "{\"model\":\"n\"}"], &["--fields"]);
    refuses(
        GOOD,
        &["--fields", "{\"late_chunking\":true}"],
        &["CACHEABLE_FIELDS"],
    );
    refuses(GOOD, &["--organization", "o"], &["decide nothing here"]);
    refuses(GOOD, &["--store", "memory:"], &["inside one server"]);
    refuses(
        GOOD,
        &["--store", "s3://bucket/p?secret=x"],
        &["--store: takes no query"],
    );
    refuses(
        GOOD,
        &["--store", "nowhere"],
        &["--store: must be s3://bucket/prefix"],
    );
    refuses(GOOD, &["--created", "tomorrow"], &["2026-01-31"]);

    let place = Place::new();
    let file = place.file("in.jsonl", GOOD);
    let key = place.file("key", "no key at all");
    let import = ["import", &*file, "--model", "m"];
    let own = [("OPENAI_API_KEY", "sk-x")];
    let digests = place.file("digests", "0".repeat(64));
    let clients = [("OPENAI_API_KEY", "sk-x"), ("CLIENT_KEYS_FILE", &*digests)];
    let models = [("CACHE_SCOPE", "shared"), ("ALLOWED_EMBEDDING_MODELS", "n")];
    let none = [("STORE", "")];
    let endpoint = [("S3_ENDPOINT", "http://user:no key at all@127.0.0.1:1")];
    let other = place.file("other", "sk-other");
    for (variables, options, words) in [
        (&[][..], &[][..], "--caller must say whose"),
        (&[], &["--caller", &key][..], "key:1: is no header"),
        (
            &[],
            &["--caller", "no key at all"],
            "--caller: names no readable file: No such file",
        ),
        (&own, &[], "ALLOW_ANONYMOUS"),
        (
            &clients,
            &["--caller", &other],
            "CLIENT_KEYS_FILE does not admit",
        ),
        (&models, &[], "is not among ALLOWED_EMBEDDING_MODELS"),
        (&none, &[], "no store: name one by --store"),
        (&endpoint, &[], "S3_ENDPOINT: must not hold a user"),
    ] {
        let arguments = [&import[..], options].concat();
        let (status, said) = refused(&tool(&place.store(), variables, &arguments));
        assert_eq!(status.map(|status| status > 0), Some(true));
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("no key at all"), "{said}");
    }
    assert!(objects(&place.store()).is_empty());
}

#[test]
fn a_store_that_is_not_there_or_empty_is_told() {
    let place = Place::new();
    for command in ["stats", "verify", "export"] {
        let absent = place.folder.path().join("absent");
        let (status, said) = refused(&tool(&absent, &[], &[command]));
        assert_eq!(status, Some(1), "{command}");
        assert!(said.contains("cannot be read: No such file"), "{said}");
        assert!(!absent.exists());
    }
    let table = told(&tool(&place.store(), &[], &["stats"]));
    assert!(
        table.lines().last().unwrap().starts_with("total"),
        "{table}"
    );
    told(&tool(&place.store(), &[], &["verify"]));
    let (_, said) = refused(&tool(&place.store(), &[], &["export"]));
    assert!(said.contains("holds no vectors"), "{said}");
}

#[test]
fn an_export_of_a_model_that_is_not_there_names_those_that_are() {
    let place = Place::stocked(2);
    let target = place.path("out.jsonl");
    let arguments = ["export", "--model", "n", "-o", &target];
    let (status, said) = refused(&tool(&place.store(), &[], &arguments));
    assert_eq!(status, Some(1));
    assert!(
        said.contains("no vectors of \"n\"; it holds those of \"m\" of 8"),
        "{said}"
    );
    assert!(!std::path::Path::new(&target).exists());
    let (status, _) = refused(&tool(
        &place.store(),
        &[],
        &["export", "-o", "/nonexistent/x"],
    ));
    assert_eq!(status, Some(1));
}

#[test]
fn a_wrong_command_line_is_told_and_help_lists_the_commands() {
    let place = Place::new();
    for arguments in [
        &["import"][..],
        &["stats", "--modle", "x"],
        &["export", "--format", "csv"],
        &["verify", "--concurrency", "0"],
    ] {
        let (status, said) = refused(&tool(&place.store(), &[], arguments));
        assert_eq!(status, Some(64), "{said}");
    }
    let help = told(&tool(&place.store(), &[], &["--help"]));
    for command in ["stats", "verify", "export", "import"] {
        assert!(help.contains(&format!("\n  {command:<8}")), "{help}");
        assert!(told(&tool(&place.store(), &[], &[command, "--help"])).contains("--store"));
    }
}

#[test]
fn an_imported_vector_is_as_old_as_its_file_and_none_is_younger_than_a_purge() {
    let place = Place::new();
    let file = place.file("in.jsonl", GOOD);
    let old = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(old).unwrap();
    let purged = old + Duration::from_secs(60);
    let millis = purged.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let markers = place.store().join("purge/model/m");
    std::fs::create_dir_all(&markers).unwrap();
    std::fs::write(markers.join(millis.to_string()), "").unwrap();

    let import = ["import", &*file, "--model", "m"];
    let (status, said) = refused(&tool(&place.store(), SHARED, &import));
    assert_eq!(status, Some(1));
    assert!(
        said.contains("vectors of 2023-11-14T22:13:20Z would be missing at once"),
        "{said}"
    );
    assert!(objects(&place.store().join("v1")).is_empty());
    let aged = [SHARED[0], ("ENTRY_MAX_AGE", "30d")];
    let other = ["import", &*file, "--model", "n"];
    assert!(
        refused(&tool(&place.store(), &aged, &other))
            .1
            .contains("ENTRY_MAX_AGE")
    );
    // Another model was not purged, and nothing comes from the future.
    told(&tool(&place.store(), SHARED, &other));
    told(&tool(
        &place.store(),
        SHARED,
        &[&import[..], &["--created", "2999-01-01"]].concat(),
    ));
    let exported = told(&tool(&place.store(), &[], &["export"]));
    assert!(
        exported.contains("\"created\":\"2023-11-14T22:13:20.000Z\""),
        "{exported}"
    );
    assert!(!exported.contains("\"created\":\"2999"), "{exported}");
    assert!(SystemTime::now() > old);
}

#[test]
fn vectors_that_are_there_stay_unless_they_are_to_be_replaced() {
    let place = Place::new();
    let file = place.file("in.jsonl", GOOD);
    let import = ["import", &*file, "--model", "m"];
    let once = told(&tool(
        &place.store(),
        SHARED,
        &[&import[..], &["--dry-run"]].concat(),
    ));
    assert!(once.ends_with("nothing was written\n") && objects(&place.store()).is_empty());
    told(&tool(&place.store(), SHARED, &import));
    place.file(
        "in.jsonl",
        "{\"input\":\"a\",\"embedding\":[3,4]}\n".repeat(2),
    );
    let kept = told(&tool(&place.store(), SHARED, &import));
    assert!(
        kept.contains("2 there with other numbers, which stay")
            || kept.contains("1 there with other numbers"),
        "{kept}"
    );
    told(&tool(
        &place.store(),
        SHARED,
        &[&import[..], &["--replace"]].concat(),
    ));
    assert!(told(&tool(&place.store(), &[], &["export"])).contains("[3.0,4.0]"));
}

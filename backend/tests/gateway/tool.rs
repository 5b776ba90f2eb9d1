//! The program as a tool beside the server: what one writes the other reads, bit for bit.

mod faults;
mod interrupts;
mod upstreams;
mod verify;

use std::path::Path;
use std::process::{Command, Output};

use embedding_gateway::embeddings::object::ObjectHead;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Setup;
use crate::support::gateway::KEY;
use crate::support::upstream::Upstream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_embedding-gateway");

/// A command of the tool on a store in `folder`, with further variables.
fn tool(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(folder, variables, arguments).output().unwrap()
}

fn command(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("STORE", url(folder));
    command.envs(variables.iter().copied()).args(arguments);
    command
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

/// What a command that succeeded has written to standard output.
#[track_caller]
fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A command's exit status, and its standard error.
fn refused(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output.status.code(), said)
}

/// A store, and files beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        Self { folder }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// Writes a file, and returns its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A store of so many vectors of eight numbers, of model `m`.
    fn stocked(count: usize) -> Self {
        let place = Self::new();
        let file = place.file("vectors.jsonl", of_model(count));
        let output = tool(&place.store(), SHARED, &["import", &file, "--model", "m"]);
        told(&output);
        place
    }
}

/// All callers share vectors.
const SHARED: &[(&str, &str)] = &[("CACHE_SCOPE", "shared")];

fn numbers(n: usize) -> Vec<f32> {
    let number = |place: usize| (n * 8 + place) as f32 / 1234.5 - 0.7;
    (0..8).map(number).collect()
}

/// A file of so many vectors.
fn of_model(count: usize) -> String {
    let record = |n: usize| (json!(format!("text {n}")), numbers(n));
    lines(&(0..count).map(record).collect::<Vec<_>>())
}

/// Objects of the store, in order of their names.
fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(objects(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Inputs in every shape and spelling that a client may send, each with its vector.
fn records() -> Vec<(Value, Vec<f32>)> {
    let texts = ["plain", "", "qu\"ote \\ \u{1f600} ö\n", "a\tb"];
    let texts = texts.iter().map(|&text| json!(text));
    let inputs = texts.chain([json!([1, 2, 300_000])]);
    let vector = |(n, input)| {
        let mut vector = numbers(n);
        vector[0] = [-0.0, f32::MIN_POSITIVE, f32::MAX, 1e-45, 0.1][n];
        (input, vector)
    };
    inputs.enumerate().map(vector).collect()
}

/// The lines of a file of these records, one vector in base64, some escaped as no gateway would.
fn lines(records: &[(Value, Vec<f32>)]) -> String {
    let line = |(n, (input, vector)): (usize, &(Value, Vec<f32>))| {
        let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
        let embedding = match n {
            1 => json!(base64_simd::STANDARD.encode_to_string(bytes)).to_string(),
            _ => {
                let numbers: Vec<String> = vector.iter().map(|n| format!("{n:e}")).collect();
                format!("[{}]", numbers.join(", "))
            }
        };
        let input = input.to_string().replace("plain", "pl\\u0061in");
        format!("{{\"embedding\": {embedding}, \"input\": {input}, \"tokens\": 7}}\r\n")
    };
    records.iter().enumerate().map(line).collect()
}

fn bits(vectors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of = |vector: &Vec<f32>| vector.iter().map(|n| n.to_bits()).collect();
    vectors.iter().map(of).collect()
}

type Variables = &'static [(&'static str, &'static str)];

/// The ways to say whose vectors they are: the server's variables, and the tool's options.
const SCOPES: [(Variables, &[&str]); 5] = [
    (&[("CACHE_SCOPE", "shared")], &[]),
    (&[], &["--caller", "CALLER"]),
    (
        &[("CACHE_SCOPE", "organization")],
        &["--organization", "org-of-the-key"],
    ),
    (
        &[("OPENAI_API_KEY", "sk-own"), ("ALLOW_ANONYMOUS", "true")],
        &[],
    ),
    (
        &[
            ("OPENAI_API_KEY", "sk-own"),
            ("ALLOW_ANONYMOUS", "true"),
            ("CACHE_SCOPE", "caller"),
            ("CACHE_NAMESPACE", "n"),
            ("UPSTREAM_ID", "u"),
        ],
        &["--caller", "CALLER"],
    ),
];

#[tokio::test]
async fn imported_vectors_are_hits_with_exactly_these_numbers_in_every_scope() {
    for (variables, options) in SCOPES {
        let (place, upstream, records) = (Place::new(), Upstream::start().await, records());
        let file = place.file("vectors.jsonl", lines(&records));
        let caller = place.file("caller", format!("Authorization: {KEY}\n"));
        let mut all = variables.to_vec();
        all.push(("OPENAI_BASE_URL", &upstream.url));
        let mut arguments = vec!["import", &file, "--model", "m", "--answered-model", "m-v2"];
        arguments.extend(options.iter().map(|&option| match option {
            "CALLER" => &*caller,
            option => option,
        }));
        let told = told(&tool(&place.store(), &all, &arguments));
        assert_eq!(told, "5 vectors of 8 numbers; 5 written\n");

        let store = url(&place.store());
        let setup = Setup::new().with_all(variables).with("STORE", &store);
        let gateway = setup.before(&upstream).await;
        gateway.warm_up().await;
        for (input, vector) in &records {
            let answer = gateway.embed(json!({"model": "m", "input": input})).await;
            assert_eq!(
                bits(&answer.vectors()),
                bits(std::slice::from_ref(vector)),
                "{input}"
            );
            assert_eq!(answer.json()["model"], "m-v2");
            assert_eq!(answer.json()["usage"]["prompt_tokens"], 7);
            assert_eq!(answer.header("x-embedding-billed-tokens"), "0");
        }
        assert_eq!(
            upstream.inputs(),
            [json!("to be accepted")],
            "{variables:?}"
        );
    }
}

#[tokio::test]
async fn dimensions_and_fields_of_requests_are_part_of_the_keys() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let file = place.file("vectors.jsonl", lines(&records()));
    let fields = r#" { "input_type" : "query", "truncate": 1.50 } "#;
    let variables = [
        ("CACHE_SCOPE", "shared"),
        ("OPENAI_BASE_URL", &*upstream.url),
    ];
    let arguments = [
        "import",
        &file,
        "--model",
        "m",
        "--dimensions",
        "8",
        "--fields",
        fields,
    ];
    told(&tool(&place.store(), &variables, &arguments));
    let store = url(&place.store());
    let setup = Setup::new()
        .with("CACHE_SCOPE", "shared")
        .with("STORE", &store);
    let gateway = setup.before(&upstream).await;
    gateway.warm_up().await;
    let asked = json!({"model": "m", "input": "plain", "dimensions": 8, "truncate": 1.5, "input_type": "query"});
    let body = asked.to_string().replace("1.5", "1.50");
    let answer = gateway.send(crate::support::gateway::post_raw(body)).await;
    assert_eq!(
        bits(&answer.vectors()),
        bits(std::slice::from_ref(&records()[0].1))
    );
    assert_eq!(upstream.call_count(), 1);
}

#[test]
fn an_export_holds_every_bit_in_either_format() {
    let (place, records) = (Place::new(), records());
    let file = place.file("vectors.jsonl", lines(&records));
    told(&tool(
        &place.store(),
        SHARED,
        &["import", &file, "--model", "m", "--created", "2026-01-31"],
    ));
    let mut expected: Vec<_> = bits(&records.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>());
    expected.sort();

    let exported = told(&tool(&place.store(), &[], &["export", "--model", "m"]));
    let mut found: Vec<Vec<u32>> = Vec::new();
    for (line, path) in exported.lines().zip(objects(&place.store())) {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["key"], path.file_name().unwrap().to_str().unwrap());
        assert_eq!(value["model"], "m");
        assert_eq!(
            (&value["dimensions"], &value["tokens"]),
            (&json!(8), &json!(7))
        );
        assert_eq!(value["created"], "2026-01-31T00:00:00.000Z");
        let numbers = line.split_once("\"embedding\":[").unwrap().1;
        let numbers = numbers.trim_end_matches("]}").split(',');
        found.push(
            numbers
                .map(|n| n.parse::<f32>().unwrap().to_bits())
                .collect(),
        );
    }
    found.sort();
    assert_eq!(found, expected);

    let target = place.path("vectors.parquet");
    told(&tool(
        &place.store(),
        &[],
        &["export", "--format", "parquet", "-o", &target],
    ));
    let mut found = parquet_vectors(&target);
    found.sort();
    assert_eq!(found, expected);
}

/// The vectors of a file, as the crate's own reader of rows finds them.
fn parquet_vectors(path: &str) -> Vec<Vec<u32>> {
    let file = std::fs::File::open(path).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 5);
    let vector = |row: Row| {
        let columns: Vec<_> = row.into_columns();
        let names: Vec<_> = columns.iter().map(|(name, _)| &**name).collect();
        let expected = [
            "key",
            "model",
            "dimensions",
            "tokens",
            "created",
            "embedding",
        ];
        assert_eq!(names, expected);
        assert_eq!(columns[1].1, Field::Str("m".to_owned()));
        assert_eq!(columns[4].1, Field::TimestampMillis(1_769_817_600_000));
        let Field::ListInternal(list) = &columns[5].1 else {
            panic!("{:?}", columns[5]);
        };
        let bits = list.elements().iter().map(|number| match number {
            Field::Float(number) => number.to_bits(),
            other => panic!("{other:?}"),
        });
        bits.collect()
    };
    reader.into_iter().map(|row| vector(row.unwrap())).collect()
}

#[test]
fn stats_count_by_model_and_length() {
    let place = Place::stocked(3);
    let file = place.file("more.jsonl", "{\"input\":\"a\",\"embedding\":[0.5,0.25]}\n");
    let arguments = [
        "import",
        &file,
        "--model",
        "m",
        "--answered-model",
        "other",
        "--created",
        "2026-01-31",
    ];
    told(&tool(&place.store(), SHARED, &arguments));
    std::fs::write(place.store().join("notes.txt"), "").unwrap();
    // No store gives the first bytes of an empty object out.
    let empty = format!("v1/00/{}", "0".repeat(64));
    std::fs::create_dir_all(place.store().join("v1/00")).unwrap();
    std::fs::write(place.store().join(&empty), "").unwrap();
    let text = told(&tool(&place.store(), &[], &["stats", "--format", "json"]));
    let stats: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stats["total"]["vectors"], 4);
    assert_eq!(stats["foreign"], 1);
    assert_eq!(
        (&stats["unusable"], &stats["unread"]),
        (&json!(1), &json!(0))
    );
    std::fs::remove_file(place.store().join(&empty)).unwrap();
    assert_eq!(stats["models"][0]["model"], "m");
    assert_eq!(stats["models"][0]["vectors"], 3);
    assert_eq!(stats["models"][1]["format_2"], 1);
    assert_eq!(stats["models"][1]["oldest"], "2026-01-31T00:00:00Z");
    let bytes: u64 = objects(&place.store().join("v1"))
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(stats["total"]["bytes"], bytes);
    let saved = |path: &std::path::PathBuf| {
        let object = std::fs::read(path).unwrap();
        let (head, _) = ObjectHead::read(&object).unwrap();
        head.float_object_bytes()
            .saturating_sub(head.object_bytes())
    };
    let saved: u64 = objects(&place.store().join("v1")).iter().map(saved).sum();
    assert_eq!(stats["total"]["saved_bytes"], saved);
    let table = told(&tool(&place.store(), &[], &["stats"]));
    assert_eq!(table.lines().count(), 5, "{table}");
}

#[test]
fn an_import_that_was_killed_is_begun_again_and_writes_nothing_twice() {
    const COUNT: usize = 1000;
    let place = Place::new();
    let file = place.file("vectors.jsonl", of_model(COUNT));
    let arguments = ["import", &file, "--model", "m", "--concurrency", "1"];
    let mut killed = command(&place.store(), SHARED, &arguments).spawn().unwrap();
    while objects(&place.store()).len() < 20 {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let whole = told(&tool(&place.store(), SHARED, &arguments));
    assert!(
        whole.contains(" written, ") && whole.contains(" there already"),
        "{whole}"
    );
    assert_eq!(told(&tool(&place.store(), &[], &["verify"])), "");
    let again = told(&tool(&place.store(), SHARED, &arguments));
    assert!(
        again.ends_with("; 0 written, 1,000 there already\n"),
        "{again}"
    );
}

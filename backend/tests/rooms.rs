//! Rules of the code that the compiler does not check: the folders of `src` stand in rows, as
//! `lib.rs` draws them, and dependencies point down; prose names the actor;
//! files and functions are short.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. A room imports only from rows below its own.
const ROWS: [&[&str]; 6] = [
    &["gateway", "broadcaster", "tool"],
    &["resolver"],
    &["cache", "upstream", "access"],
    &["telemetry"],
    &["http"],
    &["config", "embeddings"],
];

fn row(room: &str) -> usize {
    let row = ROWS.iter().position(|row| row.contains(&room));
    row.unwrap_or_else(|| panic!("`{room}` stands in no row"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `gateway` of `gateway/app.rs` and of `gateway.rs`.
fn room_of(file: &Path) -> String {
    let first = file
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_import_only_from_rows_below_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut offending = Vec::new();
    for file in files {
        let file = file.strip_prefix(&root).unwrap();
        let room = room_of(file);
        if room == "lib" || room == "bin" {
            continue;
        }
        let text = fs::read_to_string(root.join(file)).unwrap();
        for (number, line) in text.lines().enumerate() {
            for path in line.split("crate::").skip(1) {
                let imported = path
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                let imported = imported.unwrap_or_default();
                // `$crate` in a macro names what it expands to in the same way.
                if imported != room && row(imported) <= row(&room) {
                    offending.push(format!("{}:{}: {line}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(offending.is_empty(), "\n{}", offending.join("\n"));
}

/// Each hides the actor: client, upstream, Varnish, kubelet or operator.
const NO_ACTORS: [&str; 7] = [
    "anybody",
    "everybody",
    "nobody",
    "somebody",
    "whoever",
    "whom",
    "whomever",
];

const LONGEST_LINE: usize = 120;

/// The words of a line, in lower case.
fn words(line: &str) -> Vec<String> {
    let words = line.split(|c: char| !c.is_alphanumeric());
    words.map(str::to_lowercase).collect()
}

/// A comment, but no row of a table, which cannot be broken.
fn is_prose(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("//! |")
}

fn names_its_actor(line: &str) -> bool {
    let words = words(line);
    let of_ours = words.windows(2).any(|pair| pair == ["of", "ours"]);
    !of_ours && !words.iter().any(|word| NO_ACTORS.contains(&word.as_str()))
}

#[test]
fn prose_names_its_actors_in_lines_that_fit() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "../tests/openai-standin/src"] {
        sources(&package.join(folder), &mut files);
    }
    assert!(files.len() > 100, "{} files", files.len());
    let mut offending = Vec::new();
    for file in files {
        if file.ends_with("rooms.rs") {
            continue;
        }
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let is_long = is_prose(line) && line.chars().count() > LONGEST_LINE;
            if is_long || !names_its_actor(line) {
                offending.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(offending.is_empty(), "\n{}", offending.join("\n"));
}

/// A file holds one idea.
const LONGEST_FILE: usize = 250;

const LONGEST_FUNCTION: usize = 40;

/// Functions of a file, each with its length. `rustfmt` lays them out: a function ends at the
/// first brace that stands below its `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let begins = |line: &str| line.starts_with("fn ") || line.contains(" fn ");
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let is_code = code.starts_with(|c: char| c.is_ascii_lowercase());
        if !is_code || !begins(code.split(['(', '<']).next().unwrap()) {
            continue;
        }
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| rest == "}" || !rest.starts_with(' ') && rest.ends_with(';'))
        };
        let length = match code.ends_with(['}', ';']) {
            true => 1,
            false => 2 + lines[at + 1..].iter().position(ends).unwrap(),
        };
        found.push((code.to_owned(), length));
    }
    found
}

/// The part of a file that is compiled without tests. Files of tests alone have none.
fn production(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next();
    (!file.ends_with("tests.rs")).then(|| code.unwrap_or_default().to_owned())
}

#[test]
fn files_and_functions_are_short() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "../filter/src", "../filter/abi/src"] {
        sources(&package.join(folder), &mut files);
    }
    let (mut offending, mut seen) = (Vec::new(), 0);
    for file in files {
        let name = file.strip_prefix(package).unwrap().display();
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        let Some(code) = production(&file) else {
            continue;
        };
        if lines > LONGEST_FILE {
            offending.push(format!("{name}: {lines} lines"));
        }
        for (function, lines) in functions(&code) {
            seen += 1;
            if lines > LONGEST_FUNCTION {
                offending.push(format!("{name}: {lines} lines: {function}"));
            }
        }
    }
    assert!(seen > 900, "{seen} functions");
    assert!(offending.is_empty(), "\n{}", offending.join("\n"));
}

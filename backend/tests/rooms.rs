//! The folders of `src` stand in rows, and dependencies point down: `lib.rs` draws them.
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
    &["gateway", "broadcaster"],
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

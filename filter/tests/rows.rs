//! Imports point one way: a module imports only from rows above its own, and only a host's own files know it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// The core, the native host and the wasm host, each with its rows: the innermost first. Modules of one row do not
/// import each other.
const CRATES: [(&str, &[&str]); 3] = [("core", CORE), ("native", NATIVE), ("", WASM)];
const CORE: &[&str] = &["digest config", "stats", "policy", "decision"];
const NATIVE: &[&str] = &[
    "settings watchdog",
    "proxy filter",
    "stream",
    "envoy",
    "fake_envoy",
];
const WASM: &[&str] = &[
    // As `lib` shows them.
    "config decision digest policy stats",
    "vm::held vm::instance",
    "vm::rendezvous",
    "vm::roots vm::tap_ref vm::header_map vm::overtaking vm::gate vm::tap vm::single",
    "host::envoy",
    "host::metrics host::worker",
    "host::resume",
    "host::steps",
    "host::stream",
    "host::root",
    "host::contexts",
];
/// They declare the modules of their folder and import nothing.
const LISTS: [&str; 3] = ["lib", "vm", "host"];
const HOST_WORDS: [&str; 2] = ["body_hash_filter_abi::", "envoy_dynamic_module"];
/// Where those words may stand.
const HOSTS: [&str; 3] = ["host", "envoy", "fake_envoy"];

/// The row of a module or of what lies in it, and the module's name.
fn place(rows: &'static [&'static str], path: &str) -> Option<(usize, &'static str)> {
    let holds = |module: &&str| format!("{path}::").starts_with(&format!("{module}::"));
    let mut rows = rows.iter().enumerate();
    rows.find_map(|(row, names)| names.split(' ').find(holds).map(|module| (row, module)))
}

/// `use crate::a::{b, c};` imports `a::b` and `a::c`.
fn imports(line: &str) -> Vec<String> {
    let Some((_, path)) = line.split_once("use crate::") else {
        return Vec::new();
    };
    let (parent, items) = path
        .trim_end_matches([';', '}'])
        .split_once('{')
        .unwrap_or(("", path));
    items
        .split(", ")
        .map(|item| format!("{parent}{}", item.trim_end_matches(';')))
        .collect()
}

fn check(rows: &'static [&'static str], folder: &Path, parent: &str) {
    for file in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let module = format!("{parent}{}", file.file_stem().unwrap().to_str().unwrap());
        if file.is_dir() {
            check(rows, &file, &format!("{module}::"));
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let knows_a_host = HOST_WORDS.iter().any(|word| text.contains(word));
        assert!(
            !knows_a_host || HOSTS.iter().any(|host| module.starts_with(host)),
            "{module} knows a host"
        );
        let own = place(rows, &module);
        assert!(
            own.is_some() || LISTS.contains(&module.as_str()),
            "{module} is in no row"
        );
        for line in text.lines() {
            for import in imports(line) {
                let of = place(rows, &import);
                let inward = own
                    .zip(of)
                    .is_some_and(|(own, of)| of.0 < own.0 || of.1 == own.1);
                assert!(inward, "{module} must not import this: {line}");
            }
        }
    }
}

#[test]
fn imports_point_one_way() {
    for (folder, rows) in CRATES {
        let filter = Path::new(env!("CARGO_MANIFEST_DIR"));
        check(rows, &filter.join(folder).join("src"), "");
    }
}

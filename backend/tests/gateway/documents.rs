//! Documents agree with the programs about variables, codes and metrics.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedding_gateway::broadcaster;
use embedding_gateway::config::{VARIABLES, Variable};
use embedding_gateway::telemetry::{BreakerState, Gauges, Metrics, StoreGauges, StoreRights};

const CONFIGURATION: &str = "docs/configuration.md";
const HTTP_API: &str = "docs/http-api.md";
const TELEMETRY: &str = "docs/telemetry.md";
const BROADCASTER: &str = "backend/endpoint-broadcaster.md";

/// The documents with a table of variables, and whose.
const TABLES: [(&str, &[Variable]); 2] = [
    (CONFIGURATION, VARIABLES),
    (BROADCASTER, broadcaster::config::VARIABLES),
];

/// Writes the tables. It is no test, so it runs only when asked for.
const WRITE: &str = "cargo test -p embedding-gateway --test gateway write_the_tables -- --ignored";

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document)
}

fn read(document: &str) -> String {
    fs::read_to_string(path(document)).unwrap()
}

/// A table for each group, below its heading.
fn tables(variables: &[Variable]) -> String {
    let mut tables = String::new();
    for group in variables.chunk_by(|one, next| one.group == next.group) {
        tables += &format!("\n### {}\n\n", group[0].group);
        tables += "| variable | default | meaning |\n|---|---|---|\n";
        tables.extend(group.iter().map(row));
    }
    tables + "\n"
}

fn row(variable: &Variable) -> String {
    let default = match variable.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    let Variable { name, meaning, .. } = variable;
    format!("| `{name}` | {default} | {meaning} |\n")
}

/// The text before the tables, the tables, and the text after them.
fn parts(text: &str) -> (&str, &str, &str) {
    let begin = text.find("<!-- variables: ").unwrap();
    let begin = begin + text[begin..].find("-->\n").unwrap() + "-->\n".len();
    let end = text.find("<!-- /variables -->").unwrap();
    (&text[..begin], &text[begin..end], &text[end..])
}

#[test]
fn the_documents_name_every_variable_in_its_group() {
    for (document, variables) in TABLES {
        let text = read(document);
        let (_, found, _) = parts(&text);
        let right = found == tables(variables);
        assert!(right, "{document} differs from the program: {WRITE}");
        assert!(text.contains(WRITE), "{document} does not name the command");
    }
}

#[test]
#[ignore = "writes into the documents"]
fn write_the_tables() {
    for (document, variables) in TABLES {
        let text = read(document);
        let (before, _, behind) = parts(&text);
        let written = [before, &tables(variables), behind].concat();
        fs::write(path(document), written).unwrap();
    }
}

#[test]
fn a_group_of_variables_stands_together() {
    for (document, variables) in TABLES {
        let headings: Vec<_> = variables
            .chunk_by(|one, next| one.group == next.group)
            .map(|group| group[0].group)
            .collect();
        let mut different = headings.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), headings.len(), "{document}: {headings:?}");
        let standard = variables
            .iter()
            .filter(|variable| variable.name.starts_with("OTEL_"));
        assert!(standard.into_iter().all(|it| it.group == "OpenTelemetry"));
    }
}

/// The codes of a program's errors.
fn codes(source: &str) -> Vec<&str> {
    let (_, source) = source.split_once(" fn code(").unwrap();
    let (source, _) = source.split_once("\n    }\n").unwrap();
    let words = source.split("=> \"").skip(1);
    words.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_documents_name_every_error_code() {
    let gateway = codes(include_str!("../../src/http/error.rs"));
    let broadcaster = codes(include_str!("../../src/broadcaster/error.rs"));
    let tags = codes(include_str!("../../src/http/tags.rs"));
    assert_eq!(tags, ["invalid_tag", "too_many_tags"]);
    for (name, mut codes) in [(HTTP_API, gateway), (BROADCASTER, broadcaster)] {
        let document = read(name);
        assert!(codes.len() > 5);
        codes.extend(&tags);
        let ours = codes
            .into_iter()
            .filter(|code| !matches!(*code, "internal_error" | "upstream_refused"));
        for code in ours {
            assert!(document.contains(&format!("`{code}`")), "{name}: {code}");
        }
    }
}

/// The metrics of a gateway that has a store and has just started.
fn metrics() -> String {
    let store = Some(StoreGauges {
        reads: BreakerState::Closed,
        writes: BreakerState::Closed,
        writes_pending: 0,
        rights: Some(StoreRights::new(|_| true)),
        purges_age: Some(Duration::ZERO),
    });
    Metrics::new().render(&Gauges {
        store,
        ..Gauges::default()
    })
}

#[test]
fn the_document_names_every_metric() {
    let (page, document) = (metrics(), read(TELEMETRY));
    let names = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE embedding_gateway_"));
    for line in names {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert!(document.contains(&format!("`{name}{suffix}`")), "{line}");
    }
}

#[test]
fn the_document_names_every_label_and_its_values() {
    let (page, document) = (metrics(), read(TELEMETRY));
    let (_, section) = document.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let labels = page.lines().filter_map(|line| {
        let (_, labels) = line.split_once('{')?;
        Some(labels.split_once('}')?.0)
    });
    let mut checked = 0;
    for (label, value) in labels
        .flat_map(|labels| labels.split(','))
        .filter_map(|label| label.split_once('='))
        .filter(|(label, _)| !matches!(*label, "le" | "version" | "commit"))
    {
        let value = value.trim_matches('"');
        let is_status = value.parse::<u16>().is_ok();
        assert!(section.contains(&format!("`{label}`")), "{label}");
        assert!(
            is_status || section.contains(&format!("`{value}`")),
            "{label}={value}"
        );
        checked += 1;
    }
    assert!(checked > 20);
}

//! What the documents say of variables and codes is what the programs do.

use embedding_gateway::broadcast;
use embedding_gateway::config::{VARIABLES, Variable};
use embedding_gateway::telemetry::{BreakerState, Gauges, Metrics, StoreGauges};

const README: &str = include_str!("../../README.md");
const BROADCASTER: &str = include_str!("../../endpoint-broadcaster.md");

fn table(variables: &[Variable]) -> String {
    let mut table = "| variable | default | meaning |\n|---|---|---|\n".to_owned();
    for variable in variables {
        let default = match variable.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        table += &format!(
            "| `{}` | {default} | {} |\n",
            variable.name, variable.meaning
        );
    }
    table
}

#[track_caller]
fn assert_names(document: &str, variables: &[Variable]) {
    let (_, rest) = document.split_once("<!-- variables: ").unwrap();
    let (_, rest) = rest.split_once("-->\n").unwrap();
    let (found, _) = rest.split_once("<!-- /variables -->").unwrap();
    let expected = table(variables);
    assert!(found == expected, "the table should be:\n{expected}");
}

#[test]
fn the_documents_name_every_variable() {
    assert_names(README, VARIABLES);
    assert_names(BROADCASTER, broadcast::config::VARIABLES);
}

/// The words that a program answers with.
fn codes(source: &str) -> Vec<&str> {
    let (_, source) = source.split_once(" fn code(").unwrap();
    let (source, _) = source.split_once("\n    }\n").unwrap();
    let words = source.split("=> \"").skip(1);
    words.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_documents_name_every_error_code() {
    let gateway = codes(include_str!("../../src/error.rs"));
    let broadcaster = codes(include_str!("../../src/broadcast/refusal.rs"));
    for (document, codes) in [(README, gateway), (BROADCASTER, broadcaster)] {
        assert!(codes.len() > 5);
        let ours = codes
            .into_iter()
            .filter(|code| !matches!(*code, "internal_error" | "upstream_refused"));
        for code in ours {
            assert!(document.contains(&format!("`{code}`")), "{code}");
        }
    }
}

/// The metrics of a gateway that has a store and has just started.
fn metrics() -> String {
    let store = Some(StoreGauges {
        breaker: BreakerState::Closed,
        writes_pending: 0,
    });
    Metrics::new().render(&Gauges {
        store,
        ..Gauges::default()
    })
}

#[test]
fn the_readme_names_every_metric() {
    let page = metrics();
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
        assert!(README.contains(&format!("`{name}{suffix}`")), "{line}");
    }
}

#[test]
fn the_readme_names_every_label_and_its_values() {
    let page = metrics();
    let (_, section) = README.split_once("\n## Metrics\n").unwrap();
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

//! The README's table of variables is the program's.

use embedding_gateway::config::VARIABLES;
use embedding_gateway::telemetry::{BreakerState, Gauges, Metrics, StoreGauges};

const README: &str = include_str!("../../README.md");

fn table() -> String {
    let mut table = "| variable | default | meaning |\n|---|---|---|\n".to_owned();
    for variable in VARIABLES {
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

#[test]
fn the_readme_names_every_variable() {
    let (_, rest) = README.split_once("<!-- variables: ").unwrap();
    let (_, rest) = rest.split_once("-->\n").unwrap();
    let (found, _) = rest.split_once("<!-- /variables -->").unwrap();
    assert!(found == table(), "the table should be:\n{}", table());
}

#[test]
fn the_readme_names_every_error_code() {
    let source = include_str!("../../src/error.rs");
    let (_, source) = source.split_once("fn code(").unwrap();
    let (source, _) = source.split_once("fn envelope(").unwrap();
    let codes = source
        .split("=> \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let ours = codes.filter(|code| !matches!(*code, "internal_error" | "upstream_refused"));
    for code in ours {
        assert!(README.contains(&format!("`{code}`")), "{code}");
    }
}

#[test]
fn the_readme_names_every_metric() {
    let store = Some(StoreGauges {
        breaker: BreakerState::Closed,
        writes_pending: 0,
    });
    let page = Metrics::new().render(&Gauges {
        store,
        ..Gauges::default()
    });
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

//! Prometheus's text format, older than `OpenMetrics`, for scrapers that ask for it.
//!
//! Samples look alike in both. The older format names a counter with its suffix, knows neither
//! units nor `info`, and has no end.

/// The same page in the older format.
pub fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            write_head(&mut text, rest, help);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// `declared`: a metric's name and type. `help`: its name and meaning.
fn write_head(text: &mut String, declared: &str, help: &str) {
    let (name, kind) = declared.split_once(' ').unwrap_or((declared, "untyped"));
    let meaning = help.strip_prefix(name).unwrap_or_default();
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        kind => ("", kind),
    };
    text.extend(["# HELP ", name, suffix, meaning, "\n"]);
    text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_are_named_in_full() {
        let page = "# HELP a Things.\n# TYPE a counter\na_total{x=\"# y\"} 1\n\
                    # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2\n\
                    # HELP c It.\n# TYPE c info\nc_info{} 1\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                        # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 2\n\
                        # HELP c_info It.\n# TYPE c_info gauge\nc_info{} 1\n";
        assert_eq!(from_open_metrics(page), expected);
    }
}

//! Figures, read back from the text that Prometheus scrapes.

/// The prefix of the gateway's metrics.
const PREFIX: &str = "embedding_gateway_";

/// All samples of a text.
#[derive(Debug)]
pub(super) struct Samples<'a>(Vec<Sample<'a>>);

#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

impl<'a> Samples<'a> {
    /// Reads the text format of `OpenMetrics`, and leaves out samples without the prefix.
    pub(super) fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(Sample::parse).collect())
    }

    /// The sum of all samples of this name that carry these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |sample: &&Sample<'_>| {
            sample.name == name && labels.iter().all(|label| sample.labels.contains(label))
        };
        self.0
            .iter()
            .filter(wanted)
            .fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The same sum for counters, as a whole number.
    pub(super) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels) as u64
    }

    /// The sum of all samples of this name whose `label` is `wanted`.
    pub(super) fn count_where(&self, name: &str, label: &str, wanted: fn(&str) -> bool) -> u64 {
        let of_name = self.0.iter().filter(|sample| sample.name == name);
        let is_wanted = |sample: &&Sample<'_>| {
            let mut labels = sample.labels.iter();
            labels.any(|(name, value)| *name == label && wanted(value))
        };
        of_name
            .filter(is_wanted)
            .map(|sample| sample.value as u64)
            .sum()
    }
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix(PREFIX)?;
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let mut labels = Vec::new();
        let rest = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest, &mut labels)?,
            None => rest,
        };
        // A timestamp or an exemplar may follow.
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }
}

/// Reads `name="value",...}` and returns the rest. Values stay escaped: the wanted ones need no
/// escapes.
fn read_labels<'a>(mut rest: &'a str, labels: &mut Vec<(&'a str, &'a str)>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some(rest);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let end = closing_quote(quoted)?;
        labels.push((name, quoted.get(..end)?));
        rest = quoted.get(end + 1..)?;
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP embedding_gateway_inputs Inputs.
# TYPE embedding_gateway_inputs counter
embedding_gateway_inputs_total{outcome="memory"} 7
embedding_gateway_inputs_total{outcome="miss"} 3 # {trace_id="0af7"} 1.0
embedding_gateway_saved_tokens_total{model="a"} 10
embedding_gateway_saved_tokens_total{model="} 99 \"b\\"} 5
embedding_gateway_memory_bytes 1048576
embedding_gateway_seconds_sum{} 0.25
process_cpu_seconds_total 9
embedding_gateway_broken{outcome="memory
# EOF
"#;

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_named() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.count("inputs_total", &[("outcome", "memory")]), 7);
        assert_eq!(samples.count("inputs_total", &[("outcome", "miss")]), 3);
        assert_eq!(samples.count("inputs_total", &[]), 10);
        assert_eq!(samples.count("memory_bytes", &[]), 1_048_576);
        assert_eq!(samples.sum("seconds_sum", &[]), 0.25);
        assert_eq!(samples.count("absent", &[]), 0);
    }

    #[test]
    fn a_label_that_holds_quotes_and_braces_is_one_label() {
        assert_eq!(Samples::parse(TEXT).count("saved_tokens_total", &[]), 15);
    }
}

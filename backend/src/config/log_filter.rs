//! `RUST_LOG`, checked so that a typing error cannot turn the log off.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Targets of the log lines of the programs in this package. Libraries may only warn: at trace
/// level they print headers.
pub(crate) const OWN_TARGETS: [&str; 2] = ["embedding_gateway", "endpoint_broadcaster"];

/// A filter that names a level for the program's own lines. In `RUST_LOG` a word that is no level
/// is the name of a target, and all other targets are silent: `inof` would mean no log at all.
pub(crate) fn parse(value: &str) -> Result<Targets, String> {
    let directives = || {
        value
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
    };
    if directives().any(|directive| is_word(directive) && !is_for_program(directive)) {
        return Err(
            "holds a word that is neither a level (off, error, warn, info, debug, trace) \
                    nor a target of this program"
                .into(),
        );
    }
    if directives().any(|directive| directive.contains('[') || directive.ends_with('=')) {
        return Err("is no list of levels and of target=level".into());
    }
    if !directives().any(is_for_program) {
        return Err(
            "says nothing of this program: put a level in front, as in info,hyper=off".into(),
        );
    }
    let list = directives().collect::<Vec<_>>().join(",");
    list.parse::<Targets>().map_err(|error| error.to_string())
}

/// A directive that is not of the form `target=level`.
fn is_word(directive: &str) -> bool {
    !directive.contains(['=', '['])
}

/// A level for everything, or a target inside the program's or around it.
fn is_for_program(directive: &str) -> bool {
    let target = directive.split('=').next().unwrap_or_default();
    let ours = |own: &&str| own.starts_with(target) || target.starts_with(*own);
    !target.is_empty() && (directive.parse::<LevelFilter>().is_ok() || OWN_TARGETS.iter().any(ours))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_speaks_of_us() {
        for good in [
            "off",
            "WARN",
            "3",
            "info,",
            "info,embedding_gateway::request=off",
            "embedding_gateway::request",
            "embedding=debug,hyper=warn",
            "hyper=warn,info",
            "endpoint_broadcaster=trace",
            "info, hyper=warn",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_filter_lets_through_what_it_says() {
        let filter =
            parse("WARN,,embedding_gateway=debug, embedding_gateway::request=off,").unwrap();
        let lets = |target: &str, level| filter.would_enable(target, &level);
        assert!(lets("embedding_gateway::cache", Level::DEBUG));
        assert!(!lets("embedding_gateway::cache", Level::TRACE));
        assert!(!lets("embedding_gateway::request", Level::ERROR));
        assert!(lets("hyper::proto", Level::WARN));
        assert!(!lets("hyper::proto", Level::INFO));
    }

    #[test]
    fn a_filter_that_silences_us_by_mistake_is_refused() {
        for bad in [
            "==",
            "inof",
            "verbose",
            "warning,embedding_gateway::request=off",
            "hyper=debug",
            "embeding_gateway=debug",
            "embedding_gateway=",
            "embedding_gateway=inof",
            "[call]=info",
            "warn,embedding_gateway[call]=info",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! The rate that the account is limited to, if it is: requests and tokens a minute, as buckets that
//! fill evenly, and what answers and refusals tell of them.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

const MINUTE: f64 = 60.0;

/// What all keys together may ask for; without limits all that they like.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rate {
    requests: Option<Limit>,
    tokens: Option<Limit>,
}

/// One limit, and what is left of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    a_minute: f64,
    #[serde(default)]
    left: f64,
    #[serde(skip, default = "Instant::now")]
    at: Instant,
}

impl Rate {
    /// Takes a request for so many tokens, or refuses it and says when it would fit.
    pub(crate) fn take(&mut self, tokens: usize) -> Result<(), Refusal> {
        let costs = [1.0, tokens as f64];
        let now = Instant::now();
        for limit in self.limits().into_iter().flatten() {
            limit.fill(now);
        }
        for (limit, cost) in self.limits().into_iter().zip(costs) {
            if let Some(wait) = limit.and_then(|limit| limit.wait(cost)) {
                return Err(Refusal::of_status(429).after(wait));
            }
        }
        for (limit, cost) in self.limits().into_iter().zip(costs) {
            if let Some(limit) = limit {
                limit.left -= cost;
            }
        }
        Ok(())
    }

    /// Puts what is left over an answer's own allowance.
    pub(crate) fn put_headers(&self, over: &mut HeaderMap) {
        for (of, limit) in [("requests", &self.requests), ("tokens", &self.tokens)] {
            let Some(limit) = limit else { continue };
            let reset = (limit.a_minute - limit.left) / limit.rate();
            for (what, value) in [
                ("limit", limit.a_minute.to_string()),
                ("remaining", limit.left.max(0.0).floor().to_string()),
                ("reset", format!("{reset:.3}s")),
            ] {
                let name = format!("x-ratelimit-{what}-{of}").parse::<HeaderName>();
                if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                    over.insert(name, value);
                }
            }
        }
    }

    fn limits(&mut self) -> [Option<&mut Limit>; 2] {
        [self.requests.as_mut(), self.tokens.as_mut()]
    }
}

impl Limit {
    /// A second.
    fn rate(&self) -> f64 {
        self.a_minute / MINUTE
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate()).min(self.a_minute);
        self.at = now;
    }

    /// Until so much is left, if it is not.
    fn wait(&self, cost: f64) -> Option<Duration> {
        let lacks = cost - self.left;
        (lacks > 0.0).then(|| Duration::from_secs_f64((lacks / self.rate()).min(MINUTE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_taken_and_the_rest_refused() {
        let json = r#"{"tokens": {"a_minute": 600, "left": 10}}"#;
        let mut rate: Rate = serde_json::from_str(json).unwrap();
        assert!(rate.take(10).is_ok());
        let refusal = rate.take(100).unwrap_err();
        let wait = refusal.retry_after.unwrap().as_secs_f64();
        assert!((9.0..=10.0).contains(&wait), "{wait}");
        let mut headers = HeaderMap::new();
        rate.put_headers(&mut headers);
        assert_eq!(headers["x-ratelimit-limit-tokens"], "600");
        assert_eq!(headers["x-ratelimit-remaining-tokens"], "0");
        assert!(!headers.contains_key("x-ratelimit-limit-requests"));
    }

    #[test]
    fn without_limits_nothing_is_refused() {
        assert!(Rate::default().take(usize::MAX).is_ok());
    }
}

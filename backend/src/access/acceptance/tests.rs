use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::*;
use crate::http::credentials::Credential;

const TTL: Duration = Duration::from_secs(3600);

fn id(key: &'static str) -> CredentialId {
    let key = HeaderValue::from_static(key);
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, key)]);
    Credential::take(&mut headers, &[]).id
}

fn holds(acceptance: &Acceptance, key: &'static str, model: &str) -> bool {
    acceptance.right(id(key), model) != Right::None
}

fn earn(acceptance: &Acceptance, key: &'static str, model: &str) {
    acceptance.earn(id(key), model, Instant::now(), None);
}

#[tokio::test(start_paused = true)]
async fn acceptance_is_for_one_model_and_ends() {
    let acceptance = Acceptance::new(TTL);
    earn(&acceptance, "a", "m");
    assert!(holds(&acceptance, "a", "m"));
    assert!(!holds(&acceptance, "a", "n"));
    assert!(!holds(&acceptance, "b", "m"));
    tokio::time::advance(TTL - Duration::from_secs(1)).await;
    assert!(holds(&acceptance, "a", "m"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!holds(&acceptance, "a", "m"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_loses_everything() {
    let acceptance = Acceptance::new(TTL);
    acceptance.earn(id("a"), "m", Instant::now(), Some("org"));
    earn(&acceptance, "a", "n");
    acceptance.lose(id("a"));
    assert!(!holds(&acceptance, "a", "m"));
    assert!(!holds(&acceptance, "a", "n"));
    assert_eq!(acceptance.organization(id("a")), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_from_before_the_refusal_earns_nothing() {
    let acceptance = Acceptance::new(TTL);
    earn(&acceptance, "a", "m");
    let before = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    acceptance.lose(id("a"));
    acceptance.earn(id("a"), "m", before, None);
    assert!(!holds(&acceptance, "a", "m"));
    tokio::time::advance(Duration::from_secs(1)).await;
    earn(&acceptance, "a", "m");
    assert!(holds(&acceptance, "a", "m"));
}

#[tokio::test(start_paused = true)]
async fn a_credential_refused_before_it_earned_anything_is_refused_too() {
    let acceptance = Acceptance::new(TTL);
    let slow_call = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    acceptance.lose(id("a"));
    acceptance.earn(id("a"), "m", slow_call, None);
    assert!(!holds(&acceptance, "a", "m"));
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_is_due_once_in_its_last_quarter() {
    let acceptance = Acceptance::new(TTL);
    earn(&acceptance, "a", "m");
    assert!(!acceptance.is_due(id("a"), "m"));
    tokio::time::advance(TTL / 4 * 3).await;
    assert!(!acceptance.is_due(id("b"), "m"));
    assert_eq!(acceptance.right(id("a"), "m"), Right::Ending);
    assert!(acceptance.is_due(id("a"), "m"));
    assert!(!acceptance.is_due(id("a"), "m"));
    tokio::time::advance(RENEWAL).await;
    assert!(acceptance.is_due(id("a"), "m"));
    earn(&acceptance, "a", "m");
    assert!(!acceptance.is_due(id("a"), "m"));
    tokio::time::advance(TTL).await;
    assert!(!acceptance.is_due(id("a"), "m"));
}

#[tokio::test(start_paused = true)]
async fn the_last_named_organization_counts() {
    let acceptance = Acceptance::new(TTL);
    acceptance.earn(id("a"), "m", Instant::now(), Some("one"));
    acceptance.earn(id("a"), "m", Instant::now(), Some("two"));
    assert_eq!(acceptance.organization(id("a")).as_deref(), Some("two"));
    earn(&acceptance, "a", "m");
    assert_eq!(acceptance.organization(id("a")), None);
}

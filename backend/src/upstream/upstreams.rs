//! All upstreams, as the operator describes them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::client::{Client, ClientError};
use super::group::{Group, Member};
use crate::config::{ModelConfig, UpstreamConfig, UpstreamSet};

/// All upstreams.
#[derive(Debug)]
pub struct Upstreams(RwLock<Arc<Set>>);

/// The upstreams of one reading of the configuration.
#[derive(Debug)]
struct Set {
    config: UpstreamSet,
    /// In the order of the configuration.
    clients: Vec<Arc<Client>>,
    groups: HashMap<Arc<str>, Arc<Group>>,
    /// Of models without upstreams of their own.
    others: Arc<Group>,
}

/// An upstream cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UpstreamSetError {
    #[error("there is no upstream")]
    None,
    #[error("{name}: {error}")]
    Client { name: Arc<str>, error: ClientError },
}

impl Upstreams {
    /// The upstreams of `config`.
    pub fn new(config: UpstreamSet) -> Result<Self, UpstreamSetError> {
        let set = Set::new(config, None)?;
        Ok(Self(RwLock::new(Arc::new(set))))
    }

    /// Takes another configuration. An upstream that it leaves as it is keeps its connections, and
    /// what is known of it. Returns whether anything changed.
    pub fn replace(&self, config: UpstreamSet) -> Result<bool, UpstreamSetError> {
        let before = self.set();
        if before.config == config {
            return Ok(false);
        }
        let set = Arc::new(Set::new(config, Some(&before))?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = set;
        Ok(true)
    }

    /// The upstreams of a model.
    pub fn group(&self, model: &str) -> Arc<Group> {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(set.groups.get(model).unwrap_or(&set.others))
    }

    /// The models that several upstreams serve.
    pub fn shared(&self) -> Vec<(Arc<str>, Arc<Group>)> {
        let set = self.set();
        let shared = set.groups.iter().filter(|(_, group)| !group.is_single());
        shared
            .map(|(model, group)| (Arc::clone(model), Arc::clone(group)))
            .collect()
    }

    /// The upstream for routes other than embeddings, if there is one.
    pub fn of_routes(&self) -> Option<Arc<Client>> {
        let set = self.set();
        let mut clients = set.config.upstreams.iter().zip(&set.clients);
        let client = clients.find(|(config, _)| config.serves_all);
        client.map(|(_, client)| Arc::clone(client))
    }

    fn set(&self) -> Arc<Set> {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&set)
    }
}

impl Set {
    fn new(config: UpstreamSet, before: Option<&Self>) -> Result<Self, UpstreamSetError> {
        let clients = config
            .upstreams
            .iter()
            .map(|upstream| client(upstream, before));
        let clients: Vec<_> = clients.collect::<Result<_, _>>()?;
        let of_model = |model: &ModelConfig| {
            let group = before.and_then(|before| before.same_group(model, &config, &clients));
            let group = group.or_else(|| group_of(model, &config, &clients).map(Arc::new));
            Ok((
                Arc::clone(&model.name),
                group.ok_or(UpstreamSetError::None)?,
            ))
        };
        let groups = config.models.iter().map(of_model);
        let groups = groups.collect::<Result<_, _>>()?;
        let others = before.and_then(|before| before.same_others(&config, &clients));
        let others = others.or_else(|| others_of(&config, &clients).map(Arc::new));
        Ok(Self {
            others: others.ok_or(UpstreamSetError::None)?,
            groups,
            clients,
            config,
        })
    }

    /// The group of a model that is made of the same upstreams as before.
    fn same_group(
        &self,
        model: &ModelConfig,
        config: &UpstreamSet,
        clients: &[Arc<Client>],
    ) -> Option<Arc<Group>> {
        let group = self.groups.get(&model.name)?;
        let new = group_of(model, config, clients)?;
        group.is_same(&new).then(|| Arc::clone(group))
    }

    fn same_others(&self, config: &UpstreamSet, clients: &[Arc<Client>]) -> Option<Arc<Group>> {
        let new = others_of(config, clients)?;
        self.others.is_same(&new).then(|| Arc::clone(&self.others))
    }
}

/// The client of an upstream, the one of before if nothing about it changed.
fn client(
    upstream: &UpstreamConfig,
    before: Option<&Set>,
) -> Result<Arc<Client>, UpstreamSetError> {
    let same = before.and_then(|before| {
        let mut known = before.config.upstreams.iter().zip(&before.clients);
        known.find(|(config, _)| *config == upstream)
    });
    if let Some((_, client)) = same {
        return Ok(Arc::clone(client));
    }
    let client = Client::new(upstream).map_err(|error| UpstreamSetError::Client {
        name: Arc::clone(&upstream.name),
        error,
    });
    client.map(Arc::new)
}

fn group_of(model: &ModelConfig, config: &UpstreamSet, clients: &[Arc<Client>]) -> Option<Group> {
    let member = |&at: &usize| {
        let own = config.upstreams.get(at)?.models.get(&model.name);
        Some(Member::new(Arc::clone(clients.get(at)?), own.cloned()))
    };
    let mut members = model.upstreams.iter().filter_map(member);
    let first = members.next()?;
    let identity = config.identity(model)?;
    Some(Group::new(identity.into(), first, members.collect()))
}

/// Models without upstreams of their own go to the first upstream.
fn others_of(config: &UpstreamSet, clients: &[Arc<Client>]) -> Option<Group> {
    let upstream = Arc::clone(clients.first()?);
    let identity = config.upstreams.first()?.id.as_str().into();
    let first = Member::new(upstream, None);
    Some(Group::new(identity, first, Vec::new()))
}

//! What stands for the upstreams of a model in its keys, as the server has it.

use std::sync::Arc;

use crate::cache::store::{Archive, StoredObject};
use crate::config::{Config, UpstreamSet, UpstreamsConfig, UpstreamsFile};
use crate::http::process::read_file;
use crate::resolver::comparison::{generation, pins};
use crate::tool::failure::{CommandError, CommandResult};
use crate::upstream::{Group, Upstreams};

/// The identity of the upstreams that give vectors of this model, in the generation of the cache
/// that the store says.
pub(super) async fn of(
    config: &Config,
    model: &Arc<str>,
    archive: &Archive,
) -> CommandResult<Arc<str>> {
    let set = match &config.upstreams {
        UpstreamsConfig::One(upstream) => UpstreamSet::of_one((**upstream).clone()),
        UpstreamsConfig::File(file) => read(file)?,
    };
    let upstreams = Upstreams::new(set);
    let upstreams = upstreams.map_err(|error| CommandError::broken(error.to_string()))?;
    let group = upstreams.group(model);
    if !group.is_single() {
        let namespace = config.cache.namespace.as_str().into();
        follow(&namespace, model, &group, archive).await?;
    }
    Ok(group.identity())
}

/// Enters the generation that the pinned vectors are of.
async fn follow(
    namespace: &Arc<str>,
    model: &Arc<str>,
    group: &Group,
    archive: &Archive,
) -> CommandResult<()> {
    let mut pinned = Vec::new();
    for key in pins(namespace, model, group) {
        match archive.entry(&key).await? {
            StoredObject::Entry(entry) => pinned.push(*entry),
            StoredObject::Absent | StoredObject::Unusable => return Ok(()),
        }
    }
    group.enter(generation(&pinned));
    Ok(())
}

fn read(file: &UpstreamsFile) -> CommandResult<UpstreamSet> {
    let path = &file.path;
    let text = read_file(path).map_err(|error| CommandError::of_file(path, &error))?;
    let text = String::from_utf8(text);
    let text =
        text.map_err(|_| CommandError::broken(format!("{}: is not UTF-8", path.display())))?;
    let set = file.parse(&text, &|path| read_file(path));
    set.map_err(|problem| CommandError::broken(format!("{}: {problem}", path.display())))
}

/// An identity to be shown: a base URL's query may hold a key.
pub(super) fn shown(identity: &str) -> &str {
    identity.split(['?', '\0']).next().unwrap_or_default()
}

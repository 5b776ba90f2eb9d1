//! What stands for the upstreams of a model in its keys, as the server has it.

use std::sync::Arc;

use crate::config::{UpstreamSet, UpstreamsConfig, UpstreamsFile};
use crate::http::process::read_file;
use crate::tool::failure::{CommandError, CommandResult};
use crate::upstream::Upstreams;

/// The identity of the upstreams that give vectors of this model.
pub(super) fn of(config: &UpstreamsConfig, model: &str) -> CommandResult<Arc<str>> {
    let set = match config {
        UpstreamsConfig::One(upstream) => UpstreamSet::of_one((**upstream).clone()),
        UpstreamsConfig::File(file) => read(file)?,
    };
    let upstreams = Upstreams::new(set);
    let upstreams = upstreams.map_err(|error| CommandError::broken(error.to_string()))?;
    Ok(upstreams.group(model).identity())
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

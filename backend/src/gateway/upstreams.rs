//! The file of upstreams: read at the start, and again when it or a file that it names changes.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::config::{FileProblem, UpstreamSet, UpstreamsConfig, UpstreamsFile};
use crate::gateway::app::App;
use crate::http::process::read_file;
use crate::telemetry::Reload;
use crate::upstream::{UpstreamSetError, Upstreams};

/// Pause between two reads of the file.
const INTERVAL: Duration = Duration::from_secs(2);

/// The upstreams are not usable.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UpstreamsError {
    #[error("{}", without_name(.0))]
    One(UpstreamSetError),
    #[error("UPSTREAMS_FILE: {path}: {reason}")]
    File {
        path: PathBuf,
        reason: UpstreamsFileError,
    },
}

/// An upstream that variables describe has no name that an operator gave it.
fn without_name(problem: &UpstreamSetError) -> String {
    match problem {
        UpstreamSetError::Client { error, .. } => error.to_string(),
        UpstreamSetError::None => problem.to_string(),
    }
}

/// The file is no description of upstreams.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UpstreamsFileError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not UTF-8")]
    NoText,
    #[error(transparent)]
    Wrong(#[from] FileProblem),
    #[error(transparent)]
    Set(#[from] UpstreamSetError),
}

/// The upstreams as configured, and the file that describes them.
pub(super) async fn open(
    config: UpstreamsConfig,
) -> Result<(Arc<Upstreams>, Option<UpstreamsFile>), UpstreamsError> {
    let file = match config {
        UpstreamsConfig::One(upstream) => {
            let upstreams = Upstreams::new(UpstreamSet::of_one(*upstream));
            return Ok((Arc::new(upstreams.map_err(UpstreamsError::One)?), None));
        }
        UpstreamsConfig::File(file) => *file,
    };
    let opened = match read(file.clone()).await {
        Ok(set) => Upstreams::new(set).map_err(UpstreamsFileError::from),
        Err(reason) => Err(reason),
    };
    match opened {
        Ok(upstreams) => Ok((Arc::new(upstreams), Some(file))),
        Err(reason) => Err(UpstreamsError::File {
            path: file.path,
            reason,
        }),
    }
}

/// Keeps up with the file. What cannot be used leaves the upstreams as they are.
pub(super) async fn watch(app: &App) -> Infallible {
    let Some(file) = &app.upstreams_file else {
        return pending().await;
    };
    let mut complaint = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let reloaded = match read(file.clone()).await {
            Ok(set) => app.upstreams.replace(set).map_err(UpstreamsFileError::from),
            Err(reason) => Err(reason),
        };
        match reloaded {
            Ok(is_new) => {
                complaint = None;
                if is_new {
                    tracing::info!(file = %file.path.display(), "upstreams read again");
                    app.metrics.upstream_reloads.add(Reload::Done, 1);
                }
            }
            Err(reason) => {
                let said = Some(reason.to_string());
                app.metrics.upstream_reloads.add(Reload::Failed, 1);
                if said != complaint {
                    tracing::error!(
                        file = %file.path.display(),
                        %reason,
                        "upstreams not read again: they stay as they are"
                    );
                    complaint = said;
                }
            }
        }
    }
}

/// Reads the file, and those of credentials, on a thread that may block.
async fn read(file: UpstreamsFile) -> Result<UpstreamSet, UpstreamsFileError> {
    let read = spawn_blocking(move || {
        let text =
            String::from_utf8(read_file(&file.path)?).map_err(|_| UpstreamsFileError::NoText)?;
        Ok(file.parse(&text, &|path| read_file(path))?)
    });
    let ended = read.await;
    ended.unwrap_or_else(|_| Err(io::Error::other("reading it failed").into()))
}

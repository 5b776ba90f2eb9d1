//! Ctrl-C, or SIGTERM: a command tidies up before it ends.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::{CommandError, CommandResult};

/// Does the work, unless the operator or the kubelet ends it.
pub(super) async fn unless_interrupted(work: impl Future<Output = CommandResult>) -> CommandResult {
    // Before the work begins: until then either signal ends the process.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = work => ended,
        _ = interrupted.recv() => Err(CommandError::broken("interrupted")),
        _ = terminated.recv() => Err(CommandError::broken("interrupted")),
    }
}

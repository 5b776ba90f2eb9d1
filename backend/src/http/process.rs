//! What a server's process needs of the system: threads that it does not wait for at its end, and
//! file descriptors.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;

/// For a file that the program reads once, at its start: a file of a network file system that does
/// not answer, or a pipe without a writer, keeps its reader for ever.
pub const FILE_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a program. Threads that still hang in the kernel at its end do not keep the process.
pub fn run<T>(program: impl Future<Output = T>) -> io::Result<T> {
    raise_descriptor_limit();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(program);
    runtime.shutdown_background();
    Ok(ended)
}

/// Reads a file within [`FILE_PATIENCE`].
pub(crate) fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let (sender, read) = mpsc::sync_channel(1);
    let file = file.to_owned();
    thread::Builder::new().spawn(move || drop(sender.send(std::fs::read(file))))?;
    read.recv_timeout(FILE_PATIENCE)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Every connection takes a descriptor. Shells and old service managers give 1,024 at first, and
/// more to a program that asks (systemd.exec(5), `LimitNOFILE`).
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_or_its_error_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(read_file(&file).is_err());
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_file(&file).unwrap(), b"text");
    }

    #[test]
    fn a_program_ends_although_a_thread_hangs() {
        let (held, hangs) = mpsc::channel::<()>();
        let ended = run(async move {
            tokio::task::spawn_blocking(move || hangs.recv().is_ok());
            7
        });
        assert_eq!(ended.unwrap(), 7);
        drop(held);
    }
}

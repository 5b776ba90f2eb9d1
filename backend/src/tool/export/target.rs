//! Where an export goes: standard output, or a file that gets its name when it is whole.

use std::fs::Permissions;
use std::io::{self, Stdout, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// As for every new file; the operator's umask takes from it.
const MODE: u32 = 0o666;

#[derive(Debug)]
pub(super) enum Target {
    Output(Stdout),
    File(NamedTempFile, PathBuf),
}

impl Target {
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Output(io::stdout()));
        };
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(MODE))
            .prefix(".export-")
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(Self::File(file, path.to_owned()))
    }

    /// Everything is written.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Output(mut output) => output.flush(),
            Self::File(file, path) => {
                file.as_file().sync_all()?;
                file.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.write(bytes),
            Self::File(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Output(output) => output.flush(),
            Self::File(file, _) => file.flush(),
        }
    }
}

//! The keys that callers may present to a gateway with a key of its own: a file of their SHA-256,
//! from which no reader learns a key.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::http::process::FILE_PATIENCE;

/// Pause between two reads of the file.
const INTERVAL: Duration = Duration::from_secs(2);

/// The known keys.
#[derive(Debug)]
pub struct ClientKeys {
    file: PathBuf,
    known: RwLock<HashSet<[u8; 32]>>,
}

/// The file is no list of keys.
#[derive(Debug, thiserror::Error)]
pub enum ClientKeysError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is neither empty nor a comment, and does not begin with 64 hex digits.
    #[error("line {0} does not begin with 64 hex digits")]
    Line(usize),
}

impl ClientKeys {
    /// No key is known until [`Self::read`].
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            known: RwLock::default(),
        }
    }

    /// Reads the file for the first time.
    pub(super) async fn read(&self) -> Result<(), ClientKeysError> {
        let read = timeout(FILE_PATIENCE, self.reload()).await;
        read.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()))
    }

    /// Reads the file again and again.
    pub(super) async fn watch(&self) -> Infallible {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            let mut reload = pin!(self.reload());
            let reloaded = match timeout(FILE_PATIENCE, reload.as_mut()).await {
                Ok(reloaded) => reloaded,
                Err(_) => {
                    tracing::warn!("the file of client keys does not answer");
                    // One thread waits for it, however long it takes.
                    reload.await
                }
            };
            if let Err(error) = reloaded {
                tracing::warn!(%error, "client keys not read again");
            }
        }
    }

    /// Reads the file. On failure, the keys of the last read stay known.
    async fn reload(&self) -> Result<(), ClientKeysError> {
        let known = parse(&tokio::fs::read_to_string(&self.file).await?)?;
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if *current != known {
            tracing::info!(keys = known.len(), "client keys read");
            *current = known;
        }
        Ok(())
    }

    /// Whether the key is known. The look-up takes digests, so its time reveals no part of a key.
    pub fn contains(&self, key: Option<&[u8]>) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        key.is_some_and(|key| known.contains(Sha256::digest(key).as_slice()))
    }
}

/// One key a line: 64 hex digits, then the operator's note. `#` begins a comment.
fn parse(text: &str) -> Result<HashSet<[u8; 32]>, ClientKeysError> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| digest(line).ok_or(ClientKeysError::Line(number)))
        .collect()
}

fn digest(line: &str) -> Option<[u8; 32]> {
    let word = line.split_whitespace().next()?;
    // `const_hex` alone would also take a prefix `0x`.
    (word.len() == 64).then_some(())?;
    const_hex::decode_to_array(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf key | sha256sum`
    const DIGEST_OF_KEY: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

    /// The shortest time of several: other programs run, too.
    fn time_of_looking_up(keys: usize) -> Duration {
        let known = (0..keys).map(|key| Sha256::digest(key.to_string()).into());
        let keys = ClientKeys {
            file: PathBuf::new(),
            known: RwLock::new(known.collect()),
        };
        let times = (0..20).map(|_| {
            let began = std::time::Instant::now();
            for _ in 0..100 {
                assert!(keys.contains(Some(b"7")));
                assert!(!keys.contains(Some(b"unknown")));
            }
            began.elapsed()
        });
        times.min().unwrap_or_default()
    }

    #[test]
    fn a_look_up_takes_no_longer_among_100_000_keys() {
        let (few, many) = (time_of_looking_up(10), time_of_looking_up(100_000));
        assert!(many < few * 5, "{few:?} and {many:?}");
    }

    #[test]
    fn a_file_may_have_comments_and_notes() {
        let text = format!("# team a\n\n  {DIGEST_OF_KEY}  -\n");
        let keys = ClientKeys {
            file: PathBuf::new(),
            known: RwLock::new(parse(&text).unwrap()),
        };
        assert!(keys.contains(Some(b"key")));
        assert!(!keys.contains(Some(b"keys")));
        assert!(!keys.contains(Some(b"")));
        assert!(!keys.contains(None));
    }

    #[test]
    fn a_line_that_is_no_digest_is_named() {
        let bad = format!("{DIGEST_OF_KEY}\nsk-plain-key\n");
        assert!(matches!(parse(&bad), Err(ClientKeysError::Line(2))));
        assert!(parse(&format!("+{}", &DIGEST_OF_KEY[1..])).is_err());
    }
}

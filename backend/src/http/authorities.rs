//! The certificate authorities for outgoing TLS: the public ones, and those that a file names.

use std::path::Path;

use reqwest::Certificate;

use super::process::read_file;

/// The file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CaFileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("holds what is no certificate: {0}")]
    Undecodable(#[from] reqwest::Error),
    #[error("holds no certificate in PEM")]
    Empty,
}

/// The authorities that browsers trust, compiled in: the program runs in images without any.
pub fn public_authorities() -> impl Iterator<Item = Certificate> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    roots
        .iter()
        .filter_map(|der| Certificate::from_der(der).ok())
}

/// The authorities in a file.
pub fn authorities_in(file: &Path) -> Result<Vec<Certificate>, CaFileError> {
    parse(&read_file(file)?)
}

/// The authorities in a file, as PEM.
pub fn pem_in(file: &Path) -> Result<Vec<u8>, CaFileError> {
    let pem = read_file(file)?;
    parse(&pem)?;
    Ok(pem)
}

fn parse(pem: &[u8]) -> Result<Vec<Certificate>, CaFileError> {
    let certificates = Certificate::from_pem_bundle(pem)?;
    match certificates.is_empty() {
        true => Err(CaFileError::Empty),
        false => Ok(certificates),
    }
}

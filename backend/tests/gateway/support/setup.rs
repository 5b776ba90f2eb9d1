//! The setup with which a test starts.

use tempfile::NamedTempFile;

use super::gateway::Gateway;
use super::upstream::Upstream;

/// The variables of a gateway to start; all others have their defaults.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Setup {
    variables: Vec<(String, String)>,
}

/// A look-up in the store may take longer than on any busy machine, unless a test says otherwise.
const PATIENT: [(&str, &str); 1] = [("STORE_TIMEOUT", "20s")];

/// A file of upstreams.
#[derive(Debug)]
pub struct UpstreamsFile(pub NamedTempFile);

impl UpstreamsFile {
    pub fn new(text: &str) -> Self {
        let file = Self(NamedTempFile::new().unwrap());
        file.write(text);
        file
    }

    /// In place of what it held.
    pub fn write(&self, text: &str) {
        std::fs::write(self.0.path(), text).unwrap();
    }
}

impl Setup {
    pub fn new() -> Self {
        Self::default().with_all(&PATIENT)
    }

    /// One more variable.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.with_all(&[(name, value)])
    }

    /// More variables, such as those of a fake.
    pub fn with_all(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        self.variables.extend(owned);
        self
    }

    /// Starts an upstream that answers well, and a gateway in front of it.
    pub async fn start(self) -> (Upstream, Gateway) {
        let upstream = Upstream::start().await;
        let gateway = self.before(&upstream).await;
        (upstream, gateway)
    }

    /// Starts a gateway in front of this upstream.
    pub async fn before(self, upstream: &Upstream) -> Gateway {
        self.at(&upstream.url).await
    }

    /// Starts a gateway with these variables alone.
    pub async fn alone(self) -> Gateway {
        Gateway::start(self.variables.into_iter()).await
    }

    /// Starts a gateway whose upstreams stand in this file, and which lets every caller in.
    pub async fn with_file(self, file: &UpstreamsFile) -> Gateway {
        let path = file.0.path().to_str().unwrap();
        let own = self.with_all(&[("UPSTREAMS_FILE", path), ("ALLOW_ANONYMOUS", "true")]);
        own.alone().await
    }

    /// Starts a gateway whose upstream has this base URL.
    pub async fn at(self, url: &str) -> Gateway {
        let own = [("OPENAI_BASE_URL".to_owned(), url.to_owned())];
        Gateway::start(own.into_iter().chain(self.variables)).await
    }
}

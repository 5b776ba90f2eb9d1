//! Ctrl-C and SIGTERM: nothing is left that is half done.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use http::Method;
use rustix::process::{Pid, Signal, kill_process};

use super::{Place, command, of_model, refused, told, tool};
use crate::support::bucket::{Bucket, Mood};
use crate::support::waiting::until;

/// A store that the tool waits for: it lists its objects, and gives out none.
struct Withholding {
    bucket: Bucket,
    place: Place,
    /// What was imported into it before.
    file: String,
}

impl Withholding {
    async fn start() -> Self {
        let (bucket, place) = (Bucket::start().await, Place::new());
        let file = place.file("vectors.jsonl", of_model(3));
        let withholding = Self {
            bucket,
            place,
            file,
        };
        let import = ["import", &withholding.file, "--model", "m"];
        told(&tool(
            &withholding.place.store(),
            &withholding.variables(),
            &import,
        ));
        withholding.bucket.set(Mood::Withholding);
        withholding
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let mut variables = self.bucket.variables();
        variables.extend([("CACHE_SCOPE", "shared"), ("STORE", "s3://vectors/p")]);
        variables
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = command(&self.place.store(), &self.variables(), arguments);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// Ends the command while it waits for the store.
fn interrupt(running: Child, signal: Signal) -> Output {
    let id = i32::try_from(running.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    running.wait_with_output().unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_interrupted_leaves_no_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let store = Withholding::start().await;
        let folder = store.place.folder.path().join("exports");
        std::fs::create_dir(&folder).unwrap();
        let target = folder.join("vectors.parquet").display().to_string();
        let running = store.begin(&["export", "--format", "parquet", "-o", &target]);
        until(|| !files(&folder).is_empty()).await;
        let output = interrupt(running, signal);
        assert_eq!(
            refused(&output),
            (Some(1), "interrupted\n".to_owned()),
            "{signal:?} {:?}",
            output.status
        );
        assert_eq!(files(&folder), [] as [PathBuf; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_says_how_far_it_is() {
    let store = Withholding::start().await;
    let asked = store.bucket.count(&Method::GET);
    let running = store.begin(&["import", &store.file, "--model", "m"]);
    // For purges, and then for the objects.
    until(|| store.bucket.count(&Method::GET) > asked + 2).await;
    let output = interrupt(running, Signal::INT);
    let (status, said) = refused(&output);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stopped: 0 written. Begin again"), "{said}");
    assert!(said.ends_with("interrupted\n"), "{said}");
}

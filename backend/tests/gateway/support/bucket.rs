//! An S3 server that can be told to misbehave. It checks no signatures: a real server does, in
//! the whole-system tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Healthy,
    /// Takes a moment for everything, as real ones do.
    Unhurried,
    /// 403 to everything.
    Refusing,
    /// 403 to every write.
    ReadOnly,
    /// 404, as for a bucket that does not exist.
    NoBucket,
    /// What a key with `GetObject` and `PutObject` alone meets: no list, no deletion, and 403 for
    /// every object that is not there.
    GetAndPutOnly,
    /// 500 to everything.
    Failing,
    /// Answers after an hour.
    Slow,
    /// Lists what it holds, and gives an object after an hour.
    Withholding,
    /// Breaks off in the middle of an object.
    CuttingOff,
    /// Gives half of an object as if it were the whole.
    Truncating,
    /// Gives some other object.
    Confused,
}

pub struct Bucket {
    pub endpoint: String,
    shelf: Arc<Shelf>,
    server: JoinSet<()>,
}

/// By name, each with the time of its writing.
type Objects = BTreeMap<String, (Bytes, SystemTime)>;

struct Shelf {
    mood: Mutex<Mood>,
    objects: Mutex<Objects>,
    requests: Mutex<Vec<(Method, String)>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl Bucket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::new(Shelf {
            mood: Mutex::new(Mood::Healthy),
            objects: Mutex::default(),
            requests: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shelf));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            endpoint,
            shelf,
            server,
        }
    }

    /// The gateway's variables for this bucket.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        vec![
            ("S3_ENDPOINT", &self.endpoint),
            ("S3_BUCKET", "vectors"),
            ("AWS_ACCESS_KEY_ID", "access"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
    }

    pub fn set(&self, mood: Mood) {
        *self.shelf.mood.lock().unwrap() = mood;
    }

    pub async fn stop(&mut self) {
        self.server.shutdown().await;
    }

    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let objects = self.shelf.objects.lock().unwrap().clone();
        let kept = objects.into_iter().filter(|(name, _)| !is_probe(name));
        kept.map(|(name, (bytes, _))| (name, bytes)).collect()
    }

    /// Puts an object there, as another program would.
    pub fn put(&self, name: &str) {
        self.shelf.put(format!("/vectors/{name}"), Bytes::new());
    }

    /// The most requests that ran side by side so far.
    pub fn most_at_once(&self) -> usize {
        self.shelf.most_running.load(Ordering::Relaxed)
    }

    /// The names of the markers of purges.
    pub fn markers(&self) -> Vec<String> {
        let names = self.objects().into_keys();
        names.filter(|name| name.contains("/purge/")).collect()
    }

    /// How many requests of one method came so far.
    pub fn count(&self, method: &Method) -> usize {
        self.shelf
            .requests
            .lock()
            .unwrap()
            .iter()
            .filter(|(m, name)| m == method && !is_probe(name))
            .count()
    }
}

async fn serve(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let running = shelf.running.fetch_add(1, Ordering::Relaxed) + 1;
    shelf.most_running.fetch_max(running, Ordering::Relaxed);
    let answer = answer(&shelf, request).await;
    shelf.running.fetch_sub(1, Ordering::Relaxed);
    answer
}

async fn answer(shelf: &Shelf, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    shelf
        .requests
        .lock()
        .unwrap()
        .push((parts.method.clone(), path.clone()));
    let mood = *shelf.mood.lock().unwrap();
    match mood {
        Mood::Refusing => return error(StatusCode::FORBIDDEN, "AccessDenied"),
        Mood::ReadOnly if parts.method == Method::PUT => {
            return error(StatusCode::FORBIDDEN, "AccessDenied");
        }
        Mood::GetAndPutOnly if parts.uri.query().is_some() || parts.method == Method::DELETE => {
            return error(StatusCode::FORBIDDEN, "AccessDenied");
        }
        Mood::NoBucket => return error(StatusCode::NOT_FOUND, "NoSuchBucket"),
        Mood::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Withholding if parts.uri.query().is_some() => {}
        Mood::Slow | Mood::Withholding => tokio::time::sleep(Duration::from_secs(3600)).await,
        Mood::Unhurried => tokio::time::sleep(Duration::from_millis(5)).await,
        _ => {}
    }
    if parts.method == Method::PUT {
        let bytes = body.collect().await.unwrap().to_bytes();
        shelf.put(path, bytes);
        return [("etag", "\"1\"")].into_response();
    }
    if parts.method == Method::DELETE {
        shelf.objects.lock().unwrap().remove(&path);
        return StatusCode::NO_CONTENT.into_response();
    }
    let objects = shelf.objects.lock().unwrap();
    if let Some(query) = parts.uri.query() {
        return list(&objects, query);
    }
    let found = match mood {
        Mood::Confused => objects
            .iter()
            .find(|(name, _)| **name != path && !is_probe(name))
            .map(|(_, object)| object),
        _ => objects.get(&path),
    };
    match found {
        Some((object, written)) => give(object, *written, mood),
        None if mood == Mood::GetAndPutOnly => error(StatusCode::FORBIDDEN, "AccessDenied"),
        None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code></Error>")).into_response()
}

/// What a gateway writes, reads and deletes only to see whether it may.
fn is_probe(name: &str) -> bool {
    name.contains("/probe/")
}

impl Shelf {
    fn put(&self, path: String, bytes: Bytes) {
        let written = SystemTime::now();
        self.objects.lock().unwrap().insert(path, (bytes, written));
    }
}

/// `ListObjectsV2`, all on one page.
fn list(objects: &Objects, query: &str) -> Response {
    let value = |name: &str| {
        let found = query.split('&').find_map(|part| part.strip_prefix(name));
        found.unwrap_or_default().replace("%2F", "/")
    };
    let (prefix, after, delimiter) = (value("prefix="), value("start-after="), value("delimiter="));
    let (mut folders, mut items) = (BTreeSet::new(), String::new());
    for (name, (_, written)) in objects {
        let Some(name) = name.strip_prefix("/vectors/") else {
            continue;
        };
        let Some(rest) = name.strip_prefix(&*prefix).filter(|_| name > &*after) else {
            continue;
        };
        match rest.split_once('/').filter(|_| !delimiter.is_empty()) {
            Some((folder, _)) => {
                folders.insert(format!("{prefix}{folder}/"));
            }
            None => items.push_str(&item(name, *written)),
        }
    }
    let folder = |name| format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>");
    let folders: String = folders.into_iter().map(folder).collect();
    let result = format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{items}{folders}</ListBucketResult>"
    );
    ([("content-type", "application/xml")], result).into_response()
}

fn item(name: &str, written: SystemTime) -> String {
    let modified = humantime::format_rfc3339_millis(written);
    format!(
        "<Contents><Key>{name}</Key><LastModified>{modified}</LastModified><ETag>1</ETag><Size>0</Size></Contents>"
    )
}

fn give(object: &Bytes, written: SystemTime, mood: Mood) -> Response {
    let answer = Response::builder()
        .header("etag", "\"1\"")
        .header("last-modified", httpdate::fmt_http_date(written));
    let half = object.slice(..object.len() / 2);
    match mood {
        Mood::Truncating => answer.body(half.into()).unwrap(),
        Mood::CuttingOff => {
            let pieces = [Ok(half), Err(std::io::Error::other("cut off"))];
            let body = Body::from_stream(stream::iter(pieces));
            answer
                .header("content-length", object.len())
                .body(body)
                .unwrap()
        }
        _ => answer.body(object.clone().into()).unwrap(),
    }
}

//! An S3 server that can be told to misbehave. It checks no signatures: a real server does, in
//! the whole-system tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// 500 to everything.
    Failing,
    /// Answers after 10 s.
    Slow,
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

struct Shelf {
    mood: Mutex<Mood>,
    objects: Mutex<BTreeMap<String, Bytes>>,
    requests: Mutex<Vec<(Method, String)>>,
}

impl Bucket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::new(Shelf {
            mood: Mutex::new(Mood::Healthy),
            objects: Mutex::default(),
            requests: Mutex::default(),
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
            ("STORE_TIMEOUT", "200ms"),
        ]
    }

    pub fn set(&self, mood: Mood) {
        *self.shelf.mood.lock().unwrap() = mood;
    }

    pub async fn stop(&mut self) {
        self.server.shutdown().await;
    }

    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.shelf.objects.lock().unwrap().clone()
    }

    /// How many requests of one method came so far.
    pub fn count(&self, method: &Method) -> usize {
        self.shelf
            .requests
            .lock()
            .unwrap()
            .iter()
            .filter(|(m, _)| m == method)
            .count()
    }
}

async fn serve(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    shelf
        .requests
        .lock()
        .unwrap()
        .push((parts.method.clone(), path.clone()));
    let mood = *shelf.mood.lock().unwrap();
    match mood {
        Mood::Refusing => return StatusCode::FORBIDDEN.into_response(),
        Mood::ReadOnly if parts.method == Method::PUT => {
            return StatusCode::FORBIDDEN.into_response();
        }
        Mood::NoBucket => return StatusCode::NOT_FOUND.into_response(),
        Mood::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Slow => tokio::time::sleep(Duration::from_secs(10)).await,
        Mood::Unhurried => tokio::time::sleep(Duration::from_millis(5)).await,
        _ => {}
    }
    if parts.method == Method::PUT {
        let bytes = body.collect().await.unwrap().to_bytes();
        shelf.objects.lock().unwrap().insert(path, bytes);
        return [("etag", "\"1\"")].into_response();
    }
    let objects = shelf.objects.lock().unwrap();
    if let Some(query) = parts.uri.query() {
        return list(&objects, query);
    }
    let found = match mood {
        Mood::Confused => objects
            .iter()
            .find(|(name, _)| **name != path)
            .map(|(_, bytes)| bytes),
        _ => objects.get(&path),
    };
    found.map_or(StatusCode::NOT_FOUND.into_response(), |object| {
        give(object, mood)
    })
}

/// `ListObjectsV2`, all on one page.
fn list(objects: &BTreeMap<String, Bytes>, query: &str) -> Response {
    let prefix = query
        .split('&')
        .find_map(|part| part.strip_prefix("prefix="))
        .unwrap();
    let prefix = prefix.replace("%2F", "/");
    let names = objects
        .keys()
        .filter_map(|name| name.strip_prefix("/vectors/"));
    let item = |name: &str| {
        let modified = "2026-11-02T00:00:00.000Z";
        format!(
            "<Contents><Key>{name}</Key><LastModified>{modified}</LastModified><ETag>1</ETag><Size>0</Size></Contents>"
        )
    };
    let items: String = names
        .filter(|name| name.starts_with(&prefix))
        .map(item)
        .collect();
    let result =
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>");
    ([("content-type", "application/xml")], result).into_response()
}

fn give(object: &Bytes, mood: Mood) -> Response {
    let answer = Response::builder()
        .header("etag", "\"1\"")
        .header("last-modified", "Mon, 02 Nov 2026 00:00:00 GMT");
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

//! The table of all variables: group, name, default, meaning. Only this file knows their names.

/// One environment variable.
#[derive(Debug)]
pub struct Variable {
    /// The heading that `--help` and the documents list it under.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The value when the variable is absent or empty; empty if absence has a meaning of its own.
    pub default: &'static str,
    /// What it decides, in one line.
    pub meaning: &'static str,
}

/// The table of one program: a constant for each variable, and all of them in order. A name that is
/// no Rust identifier stands behind `as`.
macro_rules! variables {
    (
        $(#[$doc:meta])* $all:ident;
        $($group:literal {
            $($name:ident $(as $spelling:literal)? = $default:literal, $meaning:literal;)*
        })*
    ) => {
        $($(pub(crate) const $name: $crate::config::Variable = $crate::config::Variable {
            group: $group,
            name: $crate::config::variables::spelling!($name $($spelling)?),
            default: $default,
            meaning: $meaning,
        };)*)*

        $(#[$doc])*
        pub const $all: &[$crate::config::Variable] = &[$($($name,)*)*];
    };
}
pub(crate) use variables;

/// A variable's name in the environment.
macro_rules! spelling {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $spelling:literal) => {
        $spelling
    };
}
pub(crate) use spelling;

variables! {
    /// Every variable that the gateway reads. `AWS_*` stands for the names that any AWS SDK reads;
    /// the S3 client gets them as they are.
    VARIABLES;

    "Connections" {
        LISTEN = "0.0.0.0:8000", "address and port to accept connections on";
        HEADER_TIMEOUT = "75s", "to receive a request's headers, for an idle connection, and for a client that takes nothing of its answer; keep it above the idle time of the proxy in front";
        BODY_TIMEOUT = "30s", "to receive the body of an embeddings request";
        BODY_MIN_BYTES = "30KiB", "what must arrive of any other request's body in each BODY_TIMEOUT that the gateway waits for it; slower bodies get 408";
        SHUTDOWN_GRACE = "25s", "for running requests and pending writes after SIGTERM";
    }

    "Upstream" {
        UPSTREAMS_FILE = "", "a file in TOML of one or more upstreams, in place of the variables of one: an example follows in --help; read again when it, or a file that it names, changes";
        OPENAI_BASE_URL = "https://api.openai.com/v1", "the upstream: what stands for /v1";
        UPSTREAM_ID = "", "the upstream's part of every cache key; the base URL if absent";
        UPSTREAM_CA_FILE = "", "a file of certificates in PEM: authorities that the upstream may be certified by, besides the public ones";
        UPSTREAM_MAX_INPUTS = "2048", "inputs of one embeddings call to the upstream; what is more goes in several, as it does beyond a lower limit that the upstream names when it refuses a call";
        UPSTREAM_MAX_TOKENS = "300000", "the same of tokens: a text has no more than bytes, and beyond that they are estimated from the model's answers";
        UPSTREAM_MAX_BYTES = "16MiB", "the same of bytes of all inputs together, as JSON";
        UPSTREAM_REQUESTS_PER_MINUTE = "", "embeddings calls a minute, of each credential for each model; as answers tell if absent";
        UPSTREAM_TOKENS_PER_MINUTE = "", "the same of tokens";
        RATE_WAIT = "10s", "how long an embeddings call waits for its turn, and for the upstream that refuses its rate; 0s asks at once and passes such a refusal on";
        BATCH_WINDOW = "0s", "how long a call waits for misses of other requests that may share it: same model, parameters, payer and scope; at most 1s; 0s makes each request's call its own";
        UPSTREAM_ENCODING = "base64", "the encoding_format that embeddings calls ask for: base64 or float (none of a model that is found to refuse it), or as-asked (what the client sends, or nothing)";
        COMPARE_UPSTREAMS_EVERY = "1d", "how often the vectors of the upstreams of one model are compared, by four short texts: one whose vectors are others serves the model no more";
        DRIFT_STARTS_GENERATION = "false", "true begins an empty cache for a model whose upstreams give other vectors than the pinned ones of the first comparison; false only alarms";
        HTTPS_PROXY = "", "a proxy for upstreams over TLS, as in http://proxy:3128";
        NO_PROXY = "", "hosts, domains and networks that are reached without HTTPS_PROXY, with commas";
        UPSTREAM_CONNECT_TIMEOUT = "5s", "to connect to the upstream";
        UPSTREAM_TIMEOUT = "60s", "for an embeddings call from start to end";
        UPSTREAM_FAILOVER_AFTER = "10s", "how long an embeddings call waits for one of several upstreams before another one of the model is asked; for calls of more than 256 inputs in proportion longer";
        UPSTREAM_IDLE_TIMEOUT = "10m", "for silence before or within any other answer";
        UPSTREAM_POOL_IDLE = "4s", "to keep an idle connection to the upstream; shorter than the upstream keeps it, which for uvicorn and Node.js is 5 s";
        UPSTREAM_CONNECTION_AGE = "5m", "how long a connection to the upstream takes new requests: from then on the upstream's name is resolved anew, so that a change of DNS is followed";
    }

    "Credentials and access" {
        OPENAI_API_KEY = "", "the gateway's key; without it callers' own credentials go upstream";
        CACHE_SCOPE = "", "who shares vectors. Without OPENAI_API_KEY: credential (each credential for itself; the default), organization (as the upstream names it) or shared (all callers that the upstream accepts). With it: caller (each client key for itself; the default with CLIENT_KEYS_FILE) or shared (all callers; the default with ALLOW_ANONYMOUS)";
        FORWARD_HEADERS = "", "further headers that identify a client, with commas, as in Ocp-Apim-Subscription-Key: they go upstream on the cached route, too, and are part of the credential; without OPENAI_API_KEY, and Varnish needs the same list";
        CREDENTIAL_TTL = "1h", "how long the upstream's acceptance of a credential entitles it to hits";
        CLIENT_KEYS_FILE = "", "with OPENAI_API_KEY: a file of the SHA-256, in hex, of each key that callers may present; read again when it changes";
        ALLOW_ANONYMOUS = "false", "with OPENAI_API_KEY: true lets every caller in";
        ALLOWED_ROUTES = "POST /v1/embeddings, POST /v1/chat/completions, POST /v1/completions, POST /v1/responses, POST /v1/moderations, GET /v1/models", "with OPENAI_API_KEY: what callers may use; a trailing /* allows everything below";
        CORS_ORIGINS = "", "the origins, with commas, whose pages may call from a browser, as in https://app.example; or *; none if absent";
        ALLOWED_EMBEDDING_MODELS = "", "models that embeddings may be asked of, with commas; all if absent";
    }

    "Cache" {
        CACHE_NAMESPACE = "", "part of every cache key; another name starts an empty cache";
        CACHEABLE_FIELDS = "", "further request fields, with commas, that act on each input by itself and leave the format of vectors alone; a request with any other unknown field bypasses the cache";
        MEMORY_CACHE_BYTES = "256MiB", "bound of the memory tier; 0 turns it off";
        RESPONSE_MAX_AGE = "1h", "max-age of answers that an HTTP cache in front may store";
        DERIVE_DIMENSIONS = "", "models, with commas, as in text-embedding-3-small: a request of them for vectors of fewer dimensions is answered from the full vectors, cut off and scaled to length 1; the gateway compares with the upstream first";
        ENTRY_MAX_AGE = "", "how old a vector may become before it is paid for again; for ever if absent";
    }

    "Purging" {
        ADMIN_TOKEN = "", "the bearer token that PURGE needs; PURGE is off if it and ALLOW_ANONYMOUS_PURGE are absent";
        ALLOW_ANONYMOUS_PURGE = "false", "true accepts PURGE without a token: the network decides who may call";
    }

    "Store" {
        STORE = "", "where vectors survive: s3://bucket/prefix, file:///directory, memory: or none; s3 if S3_BUCKET is set, else none";
        S3_BUCKET = "", "the bucket, if STORE names none";
        S3_ENDPOINT = "", "an S3 server other than AWS, as in http://minio:9000";
        AWS as "AWS_*" = "", "the S3 client's standard names: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE and so on";
        STORE_TIMEOUT = "500ms", "for one look-up in the store; all of a batch together have that and 2 ms more for each input; longer counts as a miss";
        STORE_CONNECTIONS = "256", "look-ups of all requests together that run side by side; others wait, which counts as their time";
        STORE_QUEUE = "16384", "writes that may wait for the store; more are dropped and counted";
        STORE_QUEUE_BYTES = "128MiB", "what these writes may hold in memory; more are dropped and counted, too";
        STORE_ADMISSION = "always", "what is written to the store: always (all that is paid for) or second-use (what is asked for twice)";
        STORE_MIN_TOKENS = "0", "vectors that cost fewer tokens are not written to the store";
    }

    "Limits" {
        MAX_BODY_BYTES = "16MiB", "body of an embeddings request";
        MAX_INPUTS = "16384", "inputs of an embeddings request";
        MAX_INPUT_BYTES = "1MiB", "one input, as JSON";
        MAX_HEADER_BYTES = "96KiB", "all headers of a request together";
        MAX_CONNECTIONS = "4096", "connections at a time; some more are served for one request each: probes, metrics and PURGE, everything else gets 503";
        MAX_CONCURRENT_REQUESTS = "1024", "requests at a time, three quarters of them streamed ones; more get 503";
        REQUEST_MEMORY_BYTES = "", "what all requests and answers together may hold in memory; a quarter of the container's or the machine's memory if absent; more gets 503";
    }

    "Logs, page and traces" {
        LOG_FORMAT = "text", "text or json";
        RUST_LOG = "info", "which of the gateway's own log lines to write, as in debug or embedding_gateway=trace";
        STATUS_PAGE = "true", "the page for people at GET /, with its figures at /status.json; false turns it off";
        TOKEN_PRICE = "0.02", "what the page takes a million tokens to cost, in dollars, until its viewer says otherwise";
        TRACE_UPSTREAM = "false", "true tells the upstream which trace a call belongs to, by traceparent";
    }

    "OpenTelemetry" {
        OTEL_EXPORTER_OTLP_ENDPOINT = "", "where traces are sent, as in http://collector:4318; nothing is traced if neither this nor the next is set";
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "", "the same for traces alone, with its path";
        OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf", "http/protobuf or grpc";
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = "", "the same for traces alone";
        OTEL_EXPORTER_OTLP_HEADERS = "", "headers that go along, as in api-key=k,tenant=t";
        OTEL_EXPORTER_OTLP_TRACES_HEADERS = "", "the same for traces alone";
        OTEL_EXPORTER_OTLP_TIMEOUT = "10000", "for one export, in milliseconds";
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT = "", "the same for traces alone";
        OTEL_EXPORTER_OTLP_CERTIFICATE = "", "a file of certificates in PEM: authorities that the collector may be certified by, besides the public ones";
        OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE = "", "the same for traces alone";
        OTEL_TRACES_EXPORTER = "otlp", "otlp or none";
        OTEL_SDK_DISABLED = "false", "true traces nothing";
        OTEL_SERVICE_NAME = "embedding-gateway", "what traces call the gateway";
        OTEL_RESOURCE_ATTRIBUTES = "", "what else traces say of the gateway, as in deployment.environment.name=prod,k8s.pod.name=p";
        OTEL_TRACES_SAMPLER = "parentbased_always_on", "which requests are traced: always_on, always_off, traceidratio, or these with parentbased_ in front, which do as the caller's traceparent says if there is one";
        OTEL_TRACES_SAMPLER_ARG = "1", "the part that traceidratio traces, from 0 to 1";
        OTEL_BSP_MAX_QUEUE_SIZE = "2048", "spans that may wait for their export; more are dropped";
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE = "512", "spans of one export";
        OTEL_BSP_SCHEDULE_DELAY = "5000", "between two exports, in milliseconds";
    }
}

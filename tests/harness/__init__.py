"""Real processes, exact bytes: what every whole-system test starts, sends and reads.

`envoy` and `envoy_config` run an Envoy; `origin` is the upstream that tells what it received; `http1` and `http2` are
clients that put on the wire what a test asks for and nothing else, `client` one that asks as most programs do, and `load`
many that ask at once and know the right answers.
`programs` are those of backend/: `gateway` and `standin` run one of them, `chain` all as scripts/run.sh starts them, and
`s3` is a store. `secrets` makes the keys that tests use, and finds them where they must not be.
"""

# Whether the backend answers. Patient, and healthy until shown otherwise: a backend that is slow for a moment must
# not turn every request into a 503. Read by backend.vcl.
probe backend_ready {
  .url = "/readyz";
  .interval = 1s;
  .timeout = 5s;
  .window = 8;
  .threshold = 3;
  .initial = 3;
}

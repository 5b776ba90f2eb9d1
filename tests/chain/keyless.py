"""A local server for embeddings that asks for no key and names its models, as Ollama and vLLM do."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VECTOR = [0.5, -0.25, 1.0]


@dataclass
class KeylessServer:
    """Listens on a free port for as long as it is entered; without models it has no list of them."""

    models: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def list_of_models(self) -> dict | None:
        if not self.models:
            return None
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}

    def vectors(self, request: dict) -> dict:
        """One vector for each input: what counts is who gave it."""
        inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
        self.asked += inputs
        data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index, _ in enumerate(inputs)]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        return {"object": "list", "model": request["model"], "data": data, "usage": usage}

    def _handler(outer):  # noqa: N805 # the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802 # http.server's name
                # The harness asks every upstream which keys it has seen; this one looks at none.
                known = {"/v1/models": outer.list_of_models(), "/stats": {"keys": []}}
                self._answer(known.get(self.path))

            def do_POST(self):  # noqa: N802 # http.server's name
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(outer.vectors(request) if self.path == "/v1/embeddings" else None)

            def _answer(self, body: dict | None):
                text = json.dumps(body if body is not None else {"error": {"message": "not here"}}).encode()
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        return Handler

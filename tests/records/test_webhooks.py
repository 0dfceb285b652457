"""The Standard Webhooks library verifies what a server sends."""

import base64
import http.server
import json
import queue
import threading
import urllib.request

import pytest
from conftest import TRAINING, start
from server import PATIENCE, Server
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"a key of the suite, 32 bytes of it").decode()


@pytest.fixture
def receiver():
    """A server that refuses the first POST and takes the others: its port and what it got."""
    got = queue.Queue()
    answers = iter([503])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.put((body, dict(self.headers)))
            self.send_response(next(answers, 200))
            self.end_headers()

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd.server_port, got
    httpd.shutdown()


def submit(server, dataset, **webhook):
    """Submits a short job; its id."""
    body = {"dataset_id": dataset, "base_model": "tiny", "training": {**TRAINING, "epochs": 1}, **webhook}
    return server.call("POST", "/v1/jobs", body)["id"]


def test_a_job_s_end_is_told_signed_and_told_again(tmp_path, models, receiver):
    port, got = receiver
    server, dataset = start(tmp_path, models)
    server.stop()
    # The job's own webhook may lead to this machine, since the operator allows it.
    server = Server(tmp_path, [models], settings=["--webhook-allow-private"])
    job = submit(server, dataset, webhook_url=f"http://127.0.0.1:{port}/hook", webhook_secret=SECRET)
    server.wait_for_job(job)
    (first, headers), (second, again) = got.get(timeout=PATIENCE), got.get(timeout=PATIENCE)
    assert first == second and headers["webhook-id"] == again["webhook-id"]
    for body, headers in ((first, headers), (second, again)):
        told = Webhook(SECRET).verify(body, headers)
        assert told["event"] == "job.succeeded"
        assert told["job"]["id"] == job
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body + b" ", headers)

    def delivered():
        delivery, = server.call("GET", f"/v1/jobs/{job}/webhooks")["data"]
        return delivery if delivery["status"] == "delivered" else None

    delivery = server.wait("the delivery", delivered)
    assert (delivery["attempts"], delivery["last_status"], delivery["target"]) == (2, 200, "job")
    assert SECRET not in json.dumps([server.call("GET", path) for path in ("/v1/jobs", f"/v1/jobs/{job}")])
    assert SECRET not in server.log.read_text()
    server.stop()


def test_without_leave_no_private_address_is_reached(server, receiver):
    port, got = receiver
    server, dataset = server
    for host in ("127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "0x7f000001"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            submit(server, dataset, webhook_url=f"http://{host}:{port}/")
        assert refused.value.code == 422
        assert "not a public address" in refused.value.read().decode()
    # A name is looked up when the connection is made.
    job = submit(server, dataset, webhook_url=f"http://localhost:{port}/")
    server.wait_for_job(job)

    def tried():
        delivery, = server.call("GET", f"/v1/jobs/{job}/webhooks")["data"]
        return delivery if delivery["attempts"] else None

    delivery = server.wait("the attempt", tried)
    assert delivery["status"] == "pending" and "not a public address" in delivery["last_error"], delivery
    assert got.empty()

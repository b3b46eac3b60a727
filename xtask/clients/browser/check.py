"""A page in headless Chromium that watches a key over WebSocket and as server-sent events.

This serves the page from an origin of its own, so that the member's CORS rules count, starts the
browser, and reads what the page says it saw. CAIRN_ENDPOINTS are URLs with commas between
them.
"""

import http.server
import json
import os
import queue
import subprocess
import tempfile
import threading
from urllib.parse import urlencode

MEMBER = os.environ["CAIRN_ENDPOINTS"].split(",")[0]
PATIENCE = 120
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

seen = queue.Queue()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = os.path.join(os.path.dirname(__file__), "page.html")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        with open(page, "rb") as file:
            self.wfile.write(file.read())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        seen.put(json.loads(body))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d/?%s" % (server.server_port, urlencode({"member": MEMBER}))
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    browser = subprocess.Popen(
        ["chromium", *FLAGS, "--user-data-dir=" + profile, "--remote-debugging-port=0", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = seen.get(timeout=PATIENCE)
    finally:
        browser.terminate()
        browser.wait()
wanted = ["one", "zwei – ü", "three"]
for how in ["socket", "events"]:
    assert told[how] == wanted, told
    print("ok", how, flush=True)

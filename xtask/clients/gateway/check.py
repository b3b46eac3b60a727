"""What Python clients of the JSON gateway do with a cluster: etcd3gw, websockets, and plain HTTP.

Each step prints `ok`; the first surprise ends the program. CAIRN_ENDPOINTS are URLs with commas
between them. With CAIRN_CERTIFICATES, a folder, members are called over TLS with a certificate of
root's. Server-sent events, WebSockets and `/v3beta` are beyond etcd 3.7: CAIRN_ONLY_ETCD leaves them
out.
"""

import asyncio
import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
from urllib.parse import urlencode, urlparse

import etcd3gw
import websockets
from etcd3gw.utils import _encode as encode

ENDPOINTS = os.environ["CAIRN_ENDPOINTS"].split(",")
CERTIFICATES = os.environ.get("CAIRN_CERTIFICATES")
PATIENCE = 30
# requests takes these before the authority that etcd3gw hands it.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)


def certificate(file):
    return os.path.join(CERTIFICATES, file)


def tls():
    if not CERTIFICATES:
        return None
    context = ssl.create_default_context(cafile=certificate("ca.pem"))
    context.load_cert_chain(certificate("root.pem"), certificate("root.key"))
    return context


def connect(number=0, **options):
    url = urlparse(ENDPOINTS[number % len(ENDPOINTS)])
    if CERTIFICATES:
        options |= {
            "protocol": "https",
            "ca_cert": certificate("ca.pem"),
            "cert_cert": certificate("root.pem"),
            "cert_key": certificate("root.key"),
        }
    return etcd3gw.client(host=url.hostname, port=url.port, timeout=PATIENCE, **options)


def keys(client, other):
    assert client.put("gw/a", "1")
    assert client.get("gw/a") == [b"1"]
    assert other.get("gw/a") == [b"1"], "at another member"
    assert client.get("gw/missing") == []
    assert client.create("gw/a", "2") is False
    assert client.replace("gw/a", "1", "3") is True
    assert client.replace("gw/a", "1", "4") is False
    for number in range(5):
        client.put("gw/n%d" % number, str(number))
    found = [(meta["key"], value) for value, meta in client.get_prefix("gw/n")]
    assert found == [(b"gw/n%d" % n, b"%d" % n) for n in range(5)], found
    found = client.get_prefix("gw/n", sort_order="descend", sort_target="key")
    assert [value for value, _ in found] == [b"4", b"3", b"2", b"1", b"0"], found
    assert client.delete("gw/n0") is True and client.delete("gw/n0") is False
    assert client.delete_prefix("gw/n") is True
    assert client.get_prefix("gw/n") == []


def transactions(client, other):
    txn = {
        "compare": [
            {"key": encode("gw/t"), "result": "EQUAL", "target": "CREATE", "create_revision": 0}
        ],
        "success": [{"request_put": {"key": encode("gw/t"), "value": encode("first")}}],
        "failure": [{"request_range": {"key": encode("gw/t")}}],
    }
    done = client.transaction(txn)
    assert done["succeeded"] is True and "response_put" in done["responses"][0], done
    refused = other.transaction(txn)
    assert "succeeded" not in refused, refused
    found = refused["responses"][0]["response_range"]["kvs"]
    assert base64.b64decode(found[0]["value"]) == b"first", found


def leases(client, other):
    lease = client.lease(ttl=60)
    client.put("gw/leased", "v", lease=lease)
    assert 0 < lease.ttl() <= 60
    assert lease.keys() == [b"gw/leased"], lease.keys()
    assert lease.refresh() == 60
    assert lease.revoke() is True
    assert other.get("gw/leased") == []


def locks(client, other):
    with client.lock("gw", ttl=60) as lock:
        assert lock.is_acquired()
        assert other.lock("gw", ttl=60).acquire() is False
    assert not lock.is_acquired()
    late = other.lock("gw", ttl=60)
    assert late.acquire() is True
    late.release()


def watches(client, other):
    events, cancel = client.watch_prefix("gw/w")
    for number in range(20):
        other.put("gw/w%d" % number, str(number))
    other.delete("gw/w0")
    for number in range(20):
        kv = next(events)["kv"]
        assert (kv["key"], kv["value"]) == (b"gw/w%d" % number, b"%d" % number), kv
    assert next(events)["type"] == "DELETE"
    cancel()
    try:
        client.watch_once("gw/silent", timeout=0.2)
        raise AssertionError("nobody wrote this key")
    except etcd3gw.exceptions.WatchTimedOut:
        pass


def beta(client, other):
    """The paths of etcd 3.3's time, which 3.7 has no more."""
    old, old_other = (connect(number, api_path="/v3beta/") for number in (0, 1))
    assert old.delete_prefix("gw/") is True
    for step in [keys, transactions, leases, locks, watches]:
        step(old, old_other)
    old.put("gw/beta", "1")
    assert client.get("gw/beta") == [b"1"]


def websocket(client, other):
    asyncio.run(websocket_watch(client, other))


async def websocket_watch(client, other):
    client.put("gw/s", "before")
    url = ENDPOINTS[0].replace("http", "ws", 1) + "/v3/watch?text=1"
    async with websockets.connect(url, ssl=tls(), open_timeout=PATIENCE) as socket:

        async def said():
            return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["result"]

        for name in ["gw/s", "gw/other"]:
            await socket.send(json.dumps({"create_request": {"key": encode(name)}}))
            assert (await said())["created"] is True
        for number in range(20):
            await asyncio.to_thread(other.put, "gw/s", ("ä%d" % number).encode())
            event = (await said())["events"][0]["kv"]
            assert (event["key"], event["value"]) == ("gw/s", "ä%d" % number), event
        # Ids count from zero, and zero is left out.
        await socket.send(json.dumps({"cancel_request": {"watch_id": "1"}}))
        canceled = await said()
        assert canceled["canceled"] is True and canceled["watch_id"] == "1", canceled
        await (await socket.ping())


def readme(client, other):
    """README's program, as printed but for the address."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        program = file.read().split("```python\n")[1].split("```")[0]
    here = ENDPOINTS[0].replace("http", "ws", 1)
    assert "ws://localhost:2379" in program, program
    program = program.replace("ws://localhost:2379", here)
    for value in ["hello", "hello, world", "hi!"]:
        client.put("greeting", value)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 0, run.stderr
    created, told = (json.loads(line)["result"] for line in run.stdout.splitlines())
    assert created["created"] is True, created
    values = [event["kv"]["value"] for event in told["events"]]
    assert values == ["hello", "hello, world", "hi!"], values


class Events:
    """A watch of one key as an `EventSource` reads it."""

    def __init__(self, key, last=None):
        url = urlparse(ENDPOINTS[0])
        if CERTIFICATES:
            self.connection = http.client.HTTPSConnection(
                url.hostname, url.port, timeout=PATIENCE, context=tls()
            )
        else:
            self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
        headers = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = last
        query = urlencode({"key": key, "text": "1"})
        self.connection.request("GET", "/v3/watch?" + query, headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def next(self):
        """The next event with values, and its id."""
        fields = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            message = json.loads(fields.get("data", "{}"))
            values = [it["kv"]["value"] for it in message.get("events", [])]
            if values:
                return values, fields["id"]
            fields = {}

    def close(self):
        self.answer.close()
        self.connection.close()


def server_sent_events(client, other):
    events = Events("gw/e")
    other.put("gw/e", "1")
    values, seen = events.next()
    assert values == ["1"], values
    events.close()
    for number in range(2, 5):
        other.put("gw/e", str(number))
    again, found = Events("gw/e", last=seen), []
    while len(found) < 3:
        found += again.next()[0]
    assert found == ["2", "3", "4"], "what was missed comes once, in order: %s" % found
    again.close()


STEPS = [keys, transactions, leases, locks, watches]
if not os.environ.get("CAIRN_ONLY_ETCD"):
    STEPS += [beta, websocket, server_sent_events]
    if not CERTIFICATES:
        STEPS += [readme]
for step in STEPS:
    step(connect(), connect(1))
    print("ok", step.__name__, flush=True)

"""What the Python client etcd3 does with a cluster.

Each step prints `ok`; the first surprise ends the program. CAIRN_ENDPOINTS are URLs with commas
between them. With CAIRN_CERTIFICATES, a folder, members are called over TLS, by whom a certificate
there names: while authentication is on, its common name is the user.
"""

import os
import queue
import threading
from urllib.parse import urlparse

import etcd3
from etcd3 import etcdrpc

ENDPOINTS = os.environ["CAIRN_ENDPOINTS"].split(",")
CERTIFICATES = os.environ.get("CAIRN_CERTIFICATES")
PATIENCE = 30


def connect(name, number=0, **options):
    url = urlparse(ENDPOINTS[number % len(ENDPOINTS)])
    if CERTIFICATES:
        path = lambda file: os.path.join(CERTIFICATES, file)
        options.update(
            ca_cert=path("ca.pem"),
            cert_cert=path(name + ".pem"),
            cert_key=path(name + ".key"),
        )
    return etcd3.client(host=url.hostname, port=url.port, timeout=PATIENCE, **options)


def keys(client, other):
    client.put("py/a", "1")
    assert client.get("py/a")[0] == b"1"
    assert other.get("py/a")[0] == b"1", "at another member"
    assert client.get("py/missing") == (None, None)
    assert client.put_if_not_exists("py/a", "2") is False
    assert client.replace("py/a", "1", "3") is True
    for number in range(5):
        client.put("py/n%d" % number, "x")
    found = [meta.key for _, meta in client.get_prefix("py/n", sort_order="descend")]
    assert found == [b"py/n%d" % number for number in reversed(range(5))], found
    assert len(list(client.get_range("py/n1", "py/n3"))) == 2
    done, answers = client.transaction(
        compare=[client.transactions.value("py/a") == "3", client.transactions.version("py/a") > 1],
        success=[client.transactions.put("py/t", "yes"), client.transactions.get("py/a")],
        failure=[client.transactions.delete("py/a")],
    )
    assert done and answers[1][0][0] == b"3", answers
    revision = client.get("py/t")[1].mod_revision
    assert client.delete("py/t") and not client.delete("py/t")
    client.compact(revision)
    assert client.delete_prefix("py/n").deleted == 5


def watches(client, other):
    events, cancel = client.watch_prefix("py/w")
    for number in range(20):
        other.put("py/w%d" % number, str(number))
    other.delete("py/w0")
    for number in range(20):
        event = next(events)
        assert (event.key, event.value) == (b"py/w%d" % number, b"%d" % number), event
    assert isinstance(next(events), etcd3.events.DeleteEvent)
    cancel()
    past = queue.Queue()
    revision = client.get("py/w1")[1].mod_revision
    client.add_watch_callback("py/w1", past.put, start_revision=revision)
    assert past.get(timeout=PATIENCE).events[0].value == b"1"


def leases(client, other):
    lease = client.lease(60)
    client.put("py/leased", "v", lease=lease)
    assert lease.granted_ttl == 60 and 0 < lease.remaining_ttl <= 60
    assert list(lease.keys) == [b"py/leased"]
    assert next(iter(other.refresh_lease(lease.id))).TTL == 60
    lease.revoke()
    assert other.get("py/leased")[0] is None
    gone = threading.Event()
    client.add_watch_callback("py/short", lambda answer: is_end(answer) and gone.set())
    client.put("py/short", "v", lease=client.lease(1))
    assert gone.wait(PATIENCE), "a lease that nobody renews ends"


def is_end(answer):
    return any(isinstance(event, etcd3.events.DeleteEvent) for event in answer.events)


def locks(client, other):
    with client.lock("py/lock", ttl=30) as held:
        assert held.is_acquired()
        assert not other.lock("py/lock", ttl=30).acquire(timeout=1)
        waiting = other.lock("py/lock", ttl=30)
        taken = threading.Thread(target=waiting.acquire, kwargs={"timeout": PATIENCE})
        taken.start()
    taken.join(PATIENCE)
    assert waiting.is_acquired() and waiting.release()


def maintenance(client, _):
    status = client.status()
    assert status.leader is not None and status.db_size > 0
    members = list(client.members)
    assert len(members) == len(ENDPOINTS), members
    assert list(client.list_alarms()) == []
    client.hash()
    client.defragment()
    with open(os.devnull, "wb") as nowhere:
        client.snapshot(nowhere)


def users(root, _):
    """By password and by certificate. This client sends tokens over TLS alone, and knows no calls
    that make users, so these are made with its generated code."""
    auth = etcdrpc.AuthStub(root.channel)
    auth.UserAdd(etcdrpc.AuthUserAddRequest(name="root", password="secret"))
    auth.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"))
    auth.UserAdd(etcdrpc.AuthUserAddRequest(name="alice", password="wonderland"))
    auth.RoleAdd(etcdrpc.AuthRoleAddRequest(name="app"))
    permission = {"permType": 2, "key": b"py/app/", "range_end": b"py/app0"}
    auth.RoleGrantPermission(
        etcdrpc.AuthRoleGrantPermissionRequest(name="app", perm=permission)
    )
    auth.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="alice", role="app"))
    auth.AuthEnable(etcdrpc.AuthEnableRequest())
    for number in range(len(ENDPOINTS)):
        for alice in (
            connect("alice", number),
            connect("root", number, user="alice", password="wonderland"),
        ):
            alice.put("py/app/x", "y")
            assert alice.get("py/app/x")[0] == b"y"
            assert "permission denied" in refusal(lambda: alice.put("py/other", "z"))
            alice.put("py/app/leased", "v", lease=alice.lease(30))
    wrong = lambda: connect("alice", user="alice", password="guess")
    assert "authentication failed" in refusal(wrong)
    root.put("py/other", "by certificate")
    auth.AuthDisable(etcdrpc.AuthDisableRequest())


def refusal(call):
    try:
        call()
    except Exception as error:  # whatever this client makes of a status
        return str(error)
    return "not refused"


def main():
    client, other = connect("root"), connect("root", 1)
    steps = [keys, watches, leases, locks, maintenance]
    for step in steps + [users] * bool(CERTIFICATES):
        step(client, other)
        print("ok", step.__name__, flush=True)


main()

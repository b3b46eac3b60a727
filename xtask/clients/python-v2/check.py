"""What python-etcd does with the second API of a cluster.

Each step prints `ok`; the first surprise ends the program. CAIRN_ENDPOINTS are URLs with commas
between them. With CAIRN_CERTIFICATES, a folder, members are called over TLS.
"""

import os
import threading
import time
from urllib.parse import urlparse

import etcd
import etcd.auth
import etcd.lock

ENDPOINTS = os.environ["CAIRN_ENDPOINTS"].split(",")
CERTIFICATES = os.environ.get("CAIRN_CERTIFICATES")
PATIENCE = 30


def connect(number=0, **options):
    url = urlparse(ENDPOINTS[number % len(ENDPOINTS)])
    if CERTIFICATES:
        path = lambda file: os.path.join(CERTIFICATES, file)
        options.update(ca_cert=path("ca.pem"), cert=(path("root.pem"), path("root.key")))
    return etcd.Client(
        host=url.hostname,
        port=url.port,
        protocol=url.scheme,
        read_timeout=PATIENCE,
        allow_reconnect=False,
        **options,
    )


def refuses(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{call} was let through")


def cluster(client, other):
    assert len(client.machines) + 1 >= len(ENDPOINTS)
    assert len(client.members) == len(ENDPOINTS)
    assert client.leader["id"] == other.leader["id"]
    assert client.stats["id"] in client.members
    assert "setsSuccess" in client.store_stats


def keys(client, other):
    made = client.write("/py/a", "1")
    assert made.action == "set" and made.newKey
    assert other.read("/py/a", quorum=True).value == "1"
    refuses(etcd.EtcdKeyNotFound, client.read, "/py/missing")
    refuses(etcd.EtcdAlreadyExist, client.write, "/py/a", "2", prevExist=False)
    client.test_and_set("/py/a", "2", "1")
    refuses(etcd.EtcdCompareFailed, client.test_and_set, "/py/a", "3", "1")
    refuses(etcd.EtcdCompareFailed, client.write, "/py/a", "3", prevIndex=made.modifiedIndex)
    node = client.read("/py/a")
    node.value = "4"
    assert client.update(node).value == "4"
    assert client.delete("/py/a", prevValue="4").action == "compareAndDelete"
    refuses(etcd.EtcdNotFile, client.write, "/py", "x")


def directories(client, other):
    for name in ("x", "y"):
        client.write("/py/dir/" + name, name)
    client.write("/py/dir/_hidden", "h")
    found = client.read("/py", recursive=True, sorted=True, quorum=True)
    assert [leaf.key for leaf in found.leaves] == ["/py/dir/x", "/py/dir/y"]
    refuses(etcd.EtcdDirNotEmpty, client.delete, "/py/dir", dir=True)
    first = client.write("/py/queue", "1", append=True)
    second = other.write("/py/queue", "2", append=True)
    assert first.key < second.key
    assert client.pop(first.key).value == "1"
    assert client.delete("/py", recursive=True).action == "delete"


def time_to_live(client, other):
    client.write("/py/ttl", "1", ttl=1)
    assert client.read("/py/ttl").ttl == 1
    index = client.read("/py/ttl").modifiedIndex
    gone = other.watch("/py/ttl", index=index + 1, timeout=PATIENCE)
    assert gone.action == "expire" and gone._prev_node.value == "1"
    client.write("/py/kept", "1", ttl=PATIENCE)
    client.refresh("/py/kept", ttl=2 * PATIENCE)
    kept = client.read("/py/kept")
    assert kept.value == "1" and kept.ttl > PATIENCE


def watches(client, other):
    seen = []

    def wait():
        seen.append(other.watch("/py/watched", recursive=True, timeout=PATIENCE))

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not seen:
        last = client.write("/py/watched/a", "1")
        waiter.join(0.2)
    assert seen[0].key == "/py/watched/a"
    past = client.watch("/py/watched/a", index=seen[0].modifiedIndex)
    assert past.modifiedIndex == seen[0].modifiedIndex <= last.modifiedIndex
    for number, event in enumerate(
        other.eternal_watch("/py/watched", index=past.modifiedIndex, recursive=True)
    ):
        if number == 1:
            break
        client.write("/py/watched/b", "2")


def locks(client, other):
    ours, theirs = etcd.Lock(client, "py"), etcd.Lock(other, "py")
    assert ours.acquire(blocking=True, lock_ttl=PATIENCE)
    assert not theirs.acquire(blocking=False, lock_ttl=PATIENCE)
    ours.release()
    theirs.acquire(blocking=True, lock_ttl=PATIENCE)
    theirs.release()


def users(client, _):
    root = etcd.auth.EtcdUser(client, "root")
    root.password = "pw"
    root.write()
    role = etcd.auth.EtcdRole(client, "reader")
    role.grant("/open/*", "RW")
    role.write()
    alice = etcd.auth.EtcdUser(client, "alice")
    alice.password = "secret"
    alice.write()
    alice.roles = ["reader"]
    alice.write()
    named = lambda name, password: connect(username=name, password=password)
    guest = etcd.auth.EtcdRole(client, "guest")
    guest.grant("/public/*", "R")
    guest.write()
    client.api_execute("/v2/auth/enable", client._MPUT)
    admin = named("root", "pw")
    try:
        assert admin.write("/anything", "1").value == "1"
        somebody = named("alice", "secret")
        assert somebody.write("/open/x", "1").value == "1"
        refuses(etcd.EtcdInsufficientPermissions, somebody.write, "/shut/x", "1")
        refuses(etcd.EtcdInsufficientPermissions, named("alice", "no").write, "/open/x", "1")
        refuses(etcd.EtcdInsufficientPermissions, client.write, "/public/x", "1")
    finally:
        admin.api_execute("/v2/auth/enable", admin._MDELETE)


def main():
    client, other = connect(), connect(1)
    steps = [cluster, keys, directories, time_to_live, watches, locks]
    # With certificates everybody is root by the name in it.
    for step in steps + ([] if CERTIFICATES else [users]):
        begun = time.monotonic()
        step(client, other)
        print(f"ok  {step.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)


main()

// What node-etcd does with the second API of a cluster.
//
// Each step prints `ok`; the first surprise ends the program. CAIRN_ENDPOINTS are URLs with commas
// between them. With CAIRN_CERTIFICATES, a folder, members are called over TLS.

'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
// Where the packages are is said by NODE_PATH.
const Etcd = require('node-etcd');

const certificates = process.env.CAIRN_CERTIFICATES;
const file = (name) => fs.readFileSync(path.join(certificates, name));
const options = certificates
  ? { ca: file('ca.pem'), cert: file('root.pem'), key: file('root.key') }
  : {};
const etcd = new Etcd(process.env.CAIRN_ENDPOINTS.split(','), options);

/** Calls a method of the client: what it answers. */
function call(method, ...args) {
  return new Promise((resolve, reject) => {
    etcd[method](...args, (error, body, headers) =>
      error ? reject(error) : resolve({ body, headers }));
  });
}

/** The number of the error with which a call is refused. */
async function refusal(...args) {
  try {
    await call(...args);
  } catch (error) {
    return error.errorCode;
  }
  throw new Error(`${args} was let through`);
}

const steps = {
  async keys() {
    const made = await call('set', '/node/a', '1');
    assert.strictEqual(made.body.action, 'set');
    assert.ok(Number(made.headers['x-etcd-index']) >= made.body.node.modifiedIndex);
    assert.strictEqual((await call('get', '/node/a', { quorum: true })).body.node.value, '1');
    assert.strictEqual(await refusal('get', '/node/missing'), 100);
    assert.strictEqual(await refusal('create', '/node/a/b', 'x'), 104);
    const swapped = await call('compareAndSwap', '/node/a', '2', '1');
    assert.strictEqual(swapped.body.action, 'compareAndSwap');
    assert.strictEqual(await refusal('compareAndSwap', '/node/a', '3', '1'), 101);
    const deleted = await call('compareAndDelete', '/node/a', '2');
    assert.strictEqual(deleted.body.prevNode.value, '2');
  },

  async directories() {
    await call('mkdir', '/node/dir');
    await call('create', '/node/dir', 'first');
    await call('create', '/node/dir', 'second');
    const listed = await call('get', '/node/dir', { recursive: true, sorted: true });
    assert.deepStrictEqual(listed.body.node.nodes.map((node) => node.value), ['first', 'second']);
    assert.strictEqual(await refusal('rmdir', '/node/dir'), 108);
    await call('rmdir', '/node/dir', { recursive: true });
  },

  async timeToLive() {
    const made = await call('set', '/node/ttl', '1', { ttl: 1 });
    assert.strictEqual(made.body.node.ttl, 1);
    const next = made.body.node.modifiedIndex + 1;
    const gone = await call('watchIndex', '/node/ttl', next);
    assert.strictEqual(gone.body.action, 'expire');
  },

  async watcher() {
    const watcher = etcd.watcher('/node/watched', null, { recursive: true });
    const seen = [];
    await new Promise((resolve, reject) => {
      watcher.on('error', reject);
      watcher.on('change', (change) => {
        seen.push(change.node.value);
        if (seen.length === 3) resolve();
      });
      const write = async () => {
        for (const value of ['1', '2', '3']) await call('set', `/node/watched/${value}`, value);
      };
      setTimeout(() => write().catch(reject), 500);
    });
    watcher.stop();
    assert.deepStrictEqual(seen, ['1', '2', '3']);
  },

  async statistics() {
    assert.ok((await call('selfStats')).body.leaderInfo.leader);
  },
};

async function main() {
  for (const [name, step] of Object.entries(steps)) {
    const begun = Date.now();
    await step();
    console.log(`ok  ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

// The npm client "memcached", which speaks the text protocol.  Usage: scenario.js <host> <port>; says "ok" at the end.
'use strict';
const assert = require('node:assert');
const Memcached = require('memcached');

const server = `${process.argv[2]}:${process.argv[3]}`;
const c = new Memcached(server, { maxValue: 1 << 21, timeout: 10000, retries: 0 });

// Calls back like node does, or resolves.
const call = (method, ...args) =>
  new Promise((resolve, reject) => c[method](...args, (error, data) => (error ? reject(error) : resolve(data))));

async function main() {
  const [version] = await call('version');
  assert.match(version.version, /^1\.6\.\d+$/);
  assert.strictEqual(await call('get', 'nosuch'), undefined);
  assert.strictEqual(await call('set', 'k', 'text', 0), true);
  assert.strictEqual(await call('get', 'k'), 'text');
  for (const value of ['', '0123456789'.repeat(10240), 'é☃\r\nEND\r\n', 'x'.repeat(1 << 20), { a: [1, 2] }, 7]) {
    assert.strictEqual(await call('set', 'typed', value, 0), true);
    assert.deepStrictEqual(await call('get', 'typed'), value);
  }
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  assert.strictEqual(await call('set', 'bytes', bytes, 0), true);
  assert.deepStrictEqual(await call('get', 'bytes'), bytes);
  await assert.rejects(call('add', 'k', 'x', 0));
  assert.strictEqual(await call('add', 'a', 'b', 0), true);
  assert.strictEqual(await call('replace', 'a', 'bb', 0), true);
  await assert.rejects(call('replace', 'nosuch', 'x', 0));
  assert.strictEqual(await call('append', 'a', 'c'), true);
  assert.strictEqual(await call('prepend', 'a', 'a'), true);
  assert.strictEqual(await call('get', 'a'), 'abbc');
  const keys = Array.from({ length: 200 }, (_, i) => `m${i}`);
  await Promise.all(keys.map((key) => call('set', key, `v-${key}`, 0)));
  const many = await call('getMulti', [...keys, 'nosuch']);
  assert.strictEqual(Object.keys(many).length, 200);
  assert.strictEqual(many.m77, 'v-m77');
  const looked = await call('gets', 'k');
  assert.strictEqual(await call('cas', 'k', 'text2', looked.cas, 0), true);
  assert.strictEqual(await call('cas', 'k', 'text3', looked.cas, 0), false);
  assert.strictEqual(await call('get', 'k'), 'text2');
  assert.strictEqual(await call('set', 'n', 10, 0), true);
  assert.strictEqual(await call('incr', 'n', 5), 15);
  assert.strictEqual(await call('decr', 'n', 15), 0);
  assert.strictEqual(await call('incr', 'nosuch', 1), false);
  assert.strictEqual(await call('touch', 'n', 100), true);
  assert.strictEqual(await call('del', 'n'), true);
  assert.strictEqual(await call('del', 'n'), false);
  await assert.rejects(call('set', 'large', 'x'.repeat(1 << 22), 0));
  await assert.rejects(call('set', 'with blank', 'x', 0));
  assert.strictEqual(await call('set', 'short', 'lived', 1), true);
  const deadline = Date.now() + 4000;
  while ((await call('get', 'short')) !== undefined && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.strictEqual(await call('get', 'short'), undefined);
  const [stats] = await call('stats');
  assert.ok(stats.pid > 0);
  const [settings] = await call('settings');
  assert.ok(settings.maxbytes > 0);
  await call('flush');
  assert.strictEqual(await call('get', 'k'), undefined);
  c.end();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

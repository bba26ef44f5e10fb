// The npm client "memjs", which speaks the binary protocol.  Usage: memjs.js <host> <port> [<user> <password>];
// says "ok" at the end, or "refused" when the server does not let it in.
'use strict';
const assert = require('node:assert');
const { Client } = require('memjs');

const [host, port, username, password] = process.argv.slice(2);
const c = Client.create(`${host}:${port}`, { username, password, timeout: 10, retries: 0, logger: { log: () => {} } });

async function main() {
  const nothing = await c.get('nosuch').catch((error) => {
    if (username === undefined) throw error;
    return null;
  });
  if (nothing === null) {
    console.log('refused');
    return;
  }
  assert.strictEqual(nothing.value, null);
  assert.strictEqual(await c.set('k', 'text', { expires: 100 }), true);
  assert.strictEqual((await c.get('k')).value.toString(), 'text');
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  for (const value of [Buffer.alloc(0), bytes, Buffer.alloc(102400, '0123456789'), Buffer.alloc(1 << 20, '\0\r\n1')]) {
    assert.strictEqual(await c.set('bytes', value, {}), true);
    assert.deepStrictEqual((await c.get('bytes')).value, value);
  }
  assert.strictEqual(await c.add('k', 'x', {}), false);
  assert.strictEqual(await c.add('a', 'b', {}), true);
  assert.strictEqual(await c.replace('a', 'bb', {}), true);
  assert.strictEqual(await c.replace('nosuch', 'x', {}), false);
  assert.strictEqual(await c.append('a', 'c'), true);
  assert.strictEqual((await c.get('a')).value.toString(), 'bbc'); // its prepend appends
  const keys = Array.from({ length: 200 }, (_, i) => `m${i}`);
  await Promise.all(keys.map((key) => c.set(key, `v-${key}`, {})));
  const many = await Promise.all(keys.map((key) => c.get(key)));
  assert.deepStrictEqual(many.map((one) => one.value.toString()), keys.map((key) => `v-${key}`));
  assert.strictEqual((await c.increment('n', 5, { initial: 10 })).value, 10);
  assert.strictEqual((await c.increment('n', 5, {})).value, 15);
  assert.strictEqual((await c.decrement('n', 20, {})).value, 0);
  assert.strictEqual(await c.touch('k', 200), true);
  assert.strictEqual(await c.touch('nosuch', 200), false);
  assert.strictEqual(await c.delete('k'), true);
  assert.strictEqual(await c.delete('k'), false);
  await new Promise((resolve, reject) => c.flush((error) => (error ? reject(error) : resolve())));
  assert.strictEqual((await c.get('a')).value, null);
  console.log('ok');
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => c.close());

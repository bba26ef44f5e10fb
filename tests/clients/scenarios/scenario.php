<?php
// PHP's memcached extension.  Usage: scenario.php <host> <port> [binary [<user> <password>]]; says "ok" at the end,
// or "refused" when the server does not let it in.

function expect(mixed $got, mixed $want, string $what): void {
    if ($got !== $want) {
        fwrite(STDERR, "$what: got " . substr(var_export($got, true), 0, 300) . ', wanted '
            . substr(var_export($want, true), 0, 300) . "\n");
        exit(1);
    }
}

$c = new Memcached();
$c->setOptions([Memcached::OPT_BINARY_PROTOCOL => isset($argv[3]), Memcached::OPT_TCP_NODELAY => true,
    Memcached::OPT_COMPRESSION => false]);
if (isset($argv[4])) {
    $c->setSaslAuthData($argv[4], $argv[5]);
}
$c->addServer($argv[1], (int)$argv[2]);
if (isset($argv[4]) && !$c->set('k', 'inside')) {
    exit("refused\n");
}

expect(preg_match('/^1\.6\.\d+$/', array_values($c->getVersion())[0]), 1, 'version');
expect($c->get('nosuch'), false, 'get of a miss');
expect($c->getResultCode(), Memcached::RES_NOTFOUND, 'result of a miss');
expect($c->set('k', 'text'), true, 'set');
expect($c->get('k'), 'text', 'get');
foreach ([1, 1.5, true, ['a' => [1, 2]], '', implode('', array_map('chr', range(0, 255))) . "\r\nEND\r\n",
    str_repeat('0123456789', 10240), str_repeat("\0\r\n1", 1 << 18)] as $i => $value) {
    expect($c->set('typed', $value), true, "set of value $i");
    expect($c->get('typed'), $value, "get of value $i");
}
expect($c->add('k', 'x'), false, 'add of what is there');
expect($c->getResultCode(), isset($argv[3]) ? Memcached::RES_DATA_EXISTS : Memcached::RES_NOTSTORED, 'result of add');
expect($c->add('a', 'b'), true, 'add');
expect($c->replace('a', 'bb'), true, 'replace');
expect($c->replace('nosuch', 'x'), false, 'replace of what is not there');
expect($c->append('a', 'c'), true, 'append');
expect($c->prepend('a', 'a'), true, 'prepend');
expect($c->get('a'), 'abbc', 'joined');
$many = [];
for ($i = 0; $i < 200; $i++) {
    $many["m$i"] = "v$i";
}
expect($c->setMulti($many), true, 'setMulti');
expect($c->getMulti([...array_keys($many), 'nosuch']), $many, 'getMulti');
$extended = $c->get('k', null, Memcached::GET_EXTENDED);
expect($extended['value'], 'text', 'get with cas');
expect($c->cas($extended['cas'], 'k', 'text2'), true, 'cas');
expect($c->cas($extended['cas'], 'k', 'text3'), false, 'cas with an old unique');
expect($c->getResultCode(), Memcached::RES_DATA_EXISTS, 'result of cas');
expect($c->set('n', 10), true, 'set of a number');
expect($c->increment('n', 5), 15, 'increment');
expect($c->decrement('n', 100), 0, 'decrement');
expect($c->increment('nosuch'), false, 'increment of a miss');
expect($c->touch('n', 100), true, 'touch');
expect($c->touch('nosuch', 100), false, 'touch of a miss');
expect($c->delete('n'), true, 'delete');
expect($c->delete('n'), false, 'delete of a miss');
expect(array_values($c->deleteMulti(['m0', 'm1'])), [true, true], 'deleteMulti');
expect($c->set('large', str_repeat('x', 1 << 22)), false, 'set of what is too large');
expect($c->getResultCode(), Memcached::RES_E2BIG, 'result of what is too large');
expect($c->get('k'), 'text2', 'get behind what is too large');
expect($c->set("with blank", 'x'), isset($argv[3]), 'a key that the text protocol cannot have');
expect($c->set('short', 'lived', 1), true, 'set with a time to live');
$deadline = microtime(true) + 4;
while ($c->get('short') !== false && microtime(true) < $deadline) {
    usleep(20000);
}
expect($c->get('short'), false, 'expired');
expect(array_values($c->getStats())[0]['pid'] > 0, true, 'stats');
expect($c->flush(), true, 'flush');
expect($c->get('k'), false, 'get behind flush');
expect($c->quit(), true, 'quit');
echo "ok\n";

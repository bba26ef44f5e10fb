<?php
// PHP's sessions kept in memcached, over the binary protocol unless told otherwise: with a lock for each, as it
// comes.  Usage: session.php <host> <port>; says "ok" at the end.

function expect(mixed $got, mixed $want, string $what): void {
    if ($got !== $want) {
        fwrite(STDERR, "$what: got " . var_export($got, true) . ', wanted ' . var_export($want, true) . "\n");
        exit(1);
    }
}

ob_start();  // headers must not go before the sessions do
ini_set('session.save_handler', 'memcached');
ini_set('session.save_path', "$argv[1]:$argv[2]");
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
expect(ini_get('memcached.sess_binary_protocol'), '1', 'binary by default');
expect(ini_get('memcached.sess_locking'), '1', 'locks by default');

expect(session_start(), true, 'start');
$id = session_id();
expect($_SESSION, [], 'a new session');
$_SESSION['user'] = 'ann';
$_SESSION['cart'] = array_fill(0, 1000, 'thing');
expect(session_write_close(), true, 'write');

for ($i = 0; $i < 20; $i++) {
    session_id($id);
    expect(session_start(), true, 'start again');
    expect($_SESSION['user'], 'ann', 'what was kept');
    expect(count($_SESSION['cart']), 1000 + $i, 'what was added');
    $_SESSION['cart'][] = "more $i";
    expect(session_write_close(), true, 'write again');
}

session_id($id);
session_start();
expect(session_destroy(), true, 'destroy');
session_id($id);
session_start();
expect($_SESSION, [], 'behind destroy');
session_write_close();
ob_end_clean();
echo "ok\n";

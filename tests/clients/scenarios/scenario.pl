# Perl's Cache::Memcached.  Usage: scenario.pl <host> <port>; says "ok" at the end.
use strict;
use warnings;
use Cache::Memcached;
use Time::HiRes qw(time sleep);

sub expect {
    my ($got, $want, $what) = @_;
    $got = '(undef)' unless defined $got;
    die sprintf("%s: got %.300s, wanted %.300s\n", $what, $got, $want) if $got ne $want;
}

my $server = "$ARGV[0]:$ARGV[1]";
my $c = Cache::Memcached->new({servers => [$server], compress_threshold => 1_000_000_000});

expect($c->get('nosuch'), '(undef)', 'get of a miss');
expect($c->set('k', 'text'), 1, 'set');
expect($c->get('k'), 'text', 'get');
my $bytes = join('', map { chr } 0 .. 255) . "\r\nEND\r\n";
for my $value ('', $bytes, '0123456789' x 10240, "\0\r\n1" x (1 << 18)) {
    expect($c->set('bytes', $value), 1, 'set of ' . length($value));
    expect($c->get('bytes'), $value, 'get of ' . length($value));
}
expect($c->set('deep', {a => [1, 2, 3]}), 1, 'set of a structure');
expect($c->get('deep')->{a}[2], 3, 'get of a structure');
expect($c->add('k', 'x') ? 1 : 0, 0, 'add of what is there');
expect($c->add('a', 'b'), 1, 'add');
expect($c->replace('a', 'bb'), 1, 'replace');
expect($c->replace('nosuch', 'x') ? 1 : 0, 0, 'replace of what is not there');
expect($c->append('a', 'c'), 1, 'append');
expect($c->prepend('a', 'a'), 1, 'prepend');
expect($c->get('a'), 'abbc', 'joined');
$c->set("m$_", "v$_") for 0 .. 199;
my $many = $c->get_multi((map { "m$_" } 0 .. 199), 'nosuch');
expect(scalar(keys %$many), 200, 'get_multi');
expect($many->{m77}, 'v77', 'one of get_multi');
expect($c->set('n', 10), 1, 'set of a number');
expect($c->incr('n', 5), 15, 'incr');
expect($c->decr('n', 100) + 0, 0, 'decr');
expect($c->incr('nosuch'), '(undef)', 'incr of a miss');
expect($c->touch('n', 100), 1, 'touch') if $c->can('touch');
expect($c->delete('n'), 1, 'delete');
expect($c->delete('n') ? 1 : 0, 0, 'delete of a miss');
expect($c->set('large', 'x' x (1 << 22)) ? 1 : 0, 0, 'set of what is too large');
expect($c->get('k'), 'text', 'get behind what is too large');
expect($c->set('short', 'lived', 1), 1, 'set with a time to live');
my $deadline = time + 4;
sleep(0.02) while defined $c->get('short') && time < $deadline;
expect($c->get('short'), '(undef)', 'expired');
my $stats = $c->stats('misc');
expect($stats->{hosts}{$server}{misc}{pid} > 0 ? 1 : 0, 1, 'stats');
expect($c->flush_all, 1, 'flush_all');
expect($c->get('k'), '(undef)', 'get behind flush_all');
$c->disconnect_all;
print "ok\n";

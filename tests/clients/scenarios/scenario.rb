# Ruby's dalli, which (as Debian has it) speaks nothing but the binary protocol.
# Usage: scenario.rb <host> <port> [<user> <password>]; says "ok" at the end, or "refused" when the server does not
# let it in.  With CA_FILE in the environment it speaks TLS, and trusts who that file vouches for.
require 'dalli'

def expect(got, want, what)
  abort "#{what}: got #{got.inspect[0, 300]}, wanted #{want.inspect[0, 300]}" unless got == want
end

options = { value_max_bytes: 2 << 20, username: ARGV[2], password: ARGV[3] }
if ENV['CA_FILE']
  options[:ssl_context] = OpenSSL::SSL::SSLContext.new
  options[:ssl_context].set_params(ca_file: ENV['CA_FILE'], verify_mode: OpenSSL::SSL::VERIFY_PEER)
end
Dalli.logger.level = Logger::ERROR
c = Dalli::Client.new("#{ARGV[0]}:#{ARGV[1]}", options)
begin
  c.get('nosuch')
rescue Dalli::RingError, Dalli::DalliError => e
  raise unless ARGV[2]

  puts 'refused'
  exit
end
expect(c.get('nosuch'), nil, 'get of a miss')
expect(c.set('k', 'text').is_a?(Integer), true, 'set')
expect(c.get('k'), 'text', 'get')
['', (0..255).map(&:chr).join, '0123456789' * 10_240, "\0\r\n1" * (1 << 18), { 'a' => [1, 2] }].each do |value|
  c.set('typed', value)
  expect(c.get('typed'), value, 'get of a value')
end
expect(c.add('k', 'x'), false, 'add of what is there')
expect(c.replace('nosuch', 'x').to_i, 0, 'replace of what is not there')
c.set('j', 'b', nil, raw: true)
expect(c.append('j', 'c'), true, 'append')
expect(c.prepend('j', 'a'), true, 'prepend')
expect(c.get('j', raw: true), 'abc', 'joined')
200.times { |i| c.set("m#{i}", i) }
unless ENV['CA_FILE'] # Debian's dalli has no get_multi over TLS
  expect(c.get_multi(*(0..250).map { |i| "m#{i}" }).size, 200, 'get_multi')
end
expect(!!c.cas('k') { |v| v + '2' }, true, 'cas')
expect(c.get('k'), 'text2', 'get behind cas')
expect(c.incr('n', 5, nil, 10), 10, 'incr with a default')
expect(c.incr('n', 5), 15, 'incr')
expect(c.decr('n', 100), 0, 'decr')
expect(c.touch('n', 100), true, 'touch')
expect(!!c.delete('n'), true, 'delete')
expect(!!c.delete('n'), false, 'delete of a miss')
expect(c.stats.values.first['pid'].to_i.positive?, true, 'stats')
c.flush
expect(c.get('k'), nil, 'get behind flush')
c.close
puts 'ok'

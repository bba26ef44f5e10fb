"""The names of `stats` and their order are an interface: exporters parse them.  The lists are those of 1.6.45."""

import os
import tempfile

from harness.case import SystemTest, ours_only
from harness.server import Server, poll

GENERAL = """pid uptime time version libevent pointer_size rusage_user rusage_system max_connections curr_connections
total_connections rejected_connections connection_structures response_obj_oom response_obj_count response_obj_bytes
read_buf_count read_buf_bytes read_buf_bytes_free read_buf_oom reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta
get_hits get_misses get_expired get_flushed delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits
cas_misses cas_hits cas_badval touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors [idle_kicks]
bytes_read bytes_written limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us threads
conn_yields hash_power_level hash_bytes hash_is_expanding slab_reassign_rescues slab_reassign_chunk_rescues
slab_reassign_inline_reclaim slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_busy_nomem
slab_reassign_last_busy_status slab_reassign_running slabs_moved lru_crawler_running lru_crawler_starts
lru_maintainer_juggles malloc_fails log_worker_dropped log_worker_written log_watcher_skipped log_watcher_sent
log_watchers unexpected_napi_ids round_robin_fallback bytes curr_items total_items slab_global_page_pool
expired_unfetched evicted_unfetched evicted_active evictions reclaimed crawler_reclaimed crawler_items_checked
lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped""".split()

SETTINGS = """maxbytes maxconns tcpport udpport inter verbosity oldest evictions domain_socket umask shutdown_command
growth_factor chunk_size num_threads num_threads_per_udp stat_key_prefix detail_enabled reqs_per_event cas_enabled
tcp_backlog binding_protocol auth_enabled_sasl auth_enabled_ascii item_size_max maxconns_fast hashpower_init
slab_reassign slab_automove slab_automove_ratio slab_automove_window slab_chunk_max lru_crawler lru_crawler_sleep
lru_crawler_tocrawl tail_repair_time flush_enabled dump_enabled hash_algorithm lru_maintainer_thread lru_segmented
hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor temp_lru temporary_ttl idle_timeout watcher_logbuf_size
worker_logbuf_size read_buf_mem_limit track_sizes inline_ascii_response""".split()

# What is behind them depends on how memcached was built; this is all of it, but for the proxy.
MORE_SETTINGS = """ext_item_size ext_item_age ext_low_ttl ext_recache_rate ext_wbuf_size ext_compact_under ext_drop_under
ext_max_sleep ext_max_frag slab_automove_freeratio ext_drop_unread ssl_enabled ssl_chain_cert ssl_key ssl_verify_mode
ssl_keyformat ssl_ciphers ssl_ca_cert ssl_wbuf_size ssl_session_cache ssl_kernel_tls ssl_min_version num_napi_ids
memory_file client_flags_size""".split()

ITEMS = """number number_hot number_warm number_cold [number_temp] age_hot age_warm age mem_requested evicted
evicted_nonzero evicted_time outofmemory tailrepairs reclaimed expired_unfetched evicted_unfetched evicted_active
crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru direct_reclaims
hits_to_hot hits_to_warm hits_to_cold hits_to_temp""".split()

SLABS = """chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end get_hits cmd_set
delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits""".split()


class StatsTest(SystemTest):
    def check_names(self, found, wanted):
        """The same names in the same order; those in brackets may be missing."""
        found = list(found)
        optional = {name.strip("[]") for name in wanted if name.startswith("[")}
        names = [name.strip("[]") for name in wanted]
        self.assertEqual(found, [n for n in names if n not in optional or n in found])

    @ours_only("the names are those of 1.6.45")
    def test_general(self):
        wire = self.wire(self.start())
        self.check_names((name for name, _ in wire.stats()), GENERAL)

    @ours_only("the names are those of 1.6.45")
    def test_settings(self):
        wire = self.wire(self.start())
        names = [name for name, _ in wire.stats(b"settings")]
        self.assertEqual(names, SETTINGS + MORE_SETTINGS)

    @ours_only("the names are those of 1.6.45")
    def test_items_and_slabs(self):
        wire = self.wire(self.start())
        for size in (10, 1000, 100_000):
            self.assertEqual(wire.set(b"k%d" % size, b"x" * size), b"STORED")
        for group, names, start in ((b"items", ITEMS, "items:"), (b"slabs", SLABS, "")):
            rows = wire.stats(group)
            classes = {}
            for name, _ in rows:
                if not name.startswith(start) or ":" not in name:
                    continue
                number, _, field = name.removeprefix(start).partition(":")
                classes.setdefault(int(number), []).append(field)
            self.assertGreaterEqual(len(classes), 2)
            self.assertEqual(list(classes), sorted(classes))
            for fields in classes.values():
                self.check_names(fields, names)
        self.assertEqual([n for n, _ in rows][-2:], ["active_slabs", "total_malloced"])

    def test_values_that_exporters_read(self):
        server = self.start("-m", "100", "-c", "500", "-t", "3")
        wire = self.wire(server)
        stats = dict(wire.stats())
        self.assertEqual(stats["pid"], str(server.pid))
        self.assertEqual(stats["max_connections"], "500")
        self.assertEqual(stats["limit_maxbytes"], str(100 << 20))
        self.assertEqual(stats["threads"], "3")
        self.assertEqual(stats["pointer_size"], "64")
        self.assertEqual(stats["accepting_conns"], "1")
        self.assertRegex(stats["version"], r"^1\.6\.\d+$")
        self.assertRegex(stats["rusage_user"], r"^\d+\.\d{6}$")
        settings = dict(wire.stats(b"settings"))
        for name in ("maxconns", "maxbytes", "lru_crawler_sleep", "lru_crawler_tocrawl", "num_threads", "verbosity"):
            self.assertRegex(settings[name], r"^\d+$", name)
        for name in ("lru_crawler", "cas_enabled", "flush_enabled", "maxconns_fast", "slab_reassign"):
            self.assertIn(settings[name], ("yes", "no"), name)
        self.assertEqual(settings["evictions"], "on")

    @ours_only("Debian's memcached says ?:<AF 0>")
    def test_a_unix_client_is_described_by_its_path(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "socket")
            with Server(unix=path) as server, server.wire() as wire:
                told = wire.stats(b"conns")
        self.assertEqual([value for name, value in told if name.endswith("addr")], ["unix:" + path] * 3)

    def test_counters_move_with_commands(self):
        wire = self.wire(self.start())

        def gained(request, lines):
            before = dict(wire.stats())
            wire.send(request)
            for _ in range(lines):
                wire.line()
            after = dict(wire.stats())
            return lambda name: int(after[name]) - int(before[name])

        of = gained(b"set k 0 0 1\r\nx\r\nget k\r\nget nosuch\r\n", 5)
        self.assertEqual([of(n) for n in ("cmd_set", "cmd_get", "get_hits", "get_misses", "total_items", "curr_items")],
                         [1, 2, 1, 1, 1, 1])
        of = gained(b"touch k 0\r\ntouch nosuch 0\r\ndelete k\r\ndelete k\r\n", 4)
        self.assertEqual([of(n) for n in ("cmd_touch", "touch_hits", "touch_misses", "delete_hits", "delete_misses")],
                         [2, 1, 1, 1, 1])
        of = gained(b"flush_all\r\nincr k 1\r\ndecr k 1\r\n", 3)
        self.assertEqual([of(n) for n in ("cmd_flush", "incr_misses", "decr_misses")], [1, 1, 1])
        self.assertGreater(gained(b"version\r\n", 1)("bytes_read"), 0)

    def test_reset_keeps_what_is_there(self):
        wire = self.wire(self.start())
        self.assertEqual(wire.set(b"k", b"x"), b"STORED")
        self.assertEqual(wire.get(b"k"), {b"k": b"x"})
        self.assertEqual(wire.ask(b"stats reset\r\n"), b"RESET")
        self.assertEqual([wire.stat(n) for n in ("cmd_get", "cmd_set", "get_hits", "curr_items")], [0, 0, 0, 1])

    def test_sizes_are_counted_when_asked_for(self):
        server = self.start("-o", "track_sizes")
        wire = self.wire(server)
        for index in range(50):
            self.assertEqual(wire.set(b"k%02d" % index, b"x" * 500), b"STORED")
        rows = wire.stats(b"sizes")
        self.assertEqual(sum(int(count) for _, count in rows), 50)
        self.assertTrue(all(int(size) % 32 == 0 for size, _ in rows))
        self.assertEqual(wire.ask(b"delete k00\r\n"), b"DELETED")
        poll(lambda: sum(int(count) for _, count in wire.stats(b"sizes")) == 49, what="one size less")

    def test_conns(self):
        wire = self.wire(self.start())
        fields = {name.partition(":")[2] for name, _ in wire.stats(b"conns")}
        self.assertLessEqual({"addr", "listen_addr", "state", "secs_since_last_cmd"}, fields)

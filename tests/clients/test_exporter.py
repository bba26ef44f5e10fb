"""What Prometheus' memcached_exporter asks for: every field it reads is there, and is of the kind it parses."""

from clients.test_python import ClientTest

# The exporter's sources name these; without one of them a metric is missing, or the scrape is marked as failed.
GENERAL = """
    uptime time curr_connections total_connections rejected_connections conn_yields listen_disabled_num accepting_conns
    bytes limit_maxbytes curr_items total_items evictions reclaimed store_too_large store_no_memory direct_reclaims
    bytes_read bytes_written cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses delete_hits delete_misses incr_hits
    incr_misses decr_hits decr_misses cas_hits cas_misses cas_badval touch_hits touch_misses rusage_user rusage_system
    lru_crawler_starts crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold moves_to_warm
    moves_within_lru slabs_moved slab_reassign_running threads
""".split()
SETTINGS = """
    maxconns lru_crawler_sleep lru_crawler_tocrawl hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor
""".split()
SLABS = """
    chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end get_hits cmd_set
    delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits
""".split()
ITEMS = """
    number number_hot number_warm number_cold age age_hot age_warm mem_requested evicted evicted_nonzero evicted_time
    outofmemory tailrepairs reclaimed expired_unfetched evicted_unfetched crawler_reclaimed crawler_items_checked
    lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru hits_to_hot hits_to_warm hits_to_cold hits_to_temp
""".split()


class ExporterTest(ClientTest):
    def numbers(self, rows, names):
        """Each name is there once, as a number that a Go program parses."""
        found = {}
        for name, value in rows:
            self.assertNotIn(name, found)
            found[name] = value
        for name in names:
            self.assertIn(name, found)
            self.assertRegex(found[name], r"^\d+(\.\d+)?$", name)

    def by_class(self, rows, prefix):
        """{class: its rows}"""
        classes = {}
        for name, value in rows:
            words = name.removeprefix(prefix).split(":")
            if len(words) == 2:
                self.assertRegex(words[0], r"^\d+$")
                classes.setdefault(words[0], []).append((words[1], value))
        self.assertTrue(classes)
        return classes

    def test_every_field_that_the_exporter_reads(self):
        def scenario(server):
            wire = self.wire(server)
            for size in (1, 100, 1000, 10000, 100000):
                self.assertEqual(wire.set(b"k%d" % size, b"x" * size), b"STORED")
            wire.get(b"k1", b"k100", b"none")
            general = wire.stats()
            self.numbers(general, GENERAL)
            self.assertRegex(dict(general)["version"], r"^\d+\.\d+\.\d+$")
            settings = wire.stats(b"settings")
            self.numbers(settings, SETTINGS)
            for name in ("lru_crawler", "lru_maintainer_thread"):
                self.assertIn(dict(settings)[name], ("yes", "no"))
            slabs = wire.stats(b"slabs")
            self.numbers(slabs, ["total_malloced", "active_slabs"])
            for rows in self.by_class(slabs, "").values():
                self.numbers(rows, SLABS)
            for rows in self.by_class(wire.stats(b"items"), "items:").values():
                self.numbers(rows, ITEMS)

        self.on_each_server(scenario)

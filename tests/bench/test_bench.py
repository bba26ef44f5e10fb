#!/usr/bin/python3
"""tests/bench/test_bench.py --server PATH [--bench PATH] — larder-bench says the truth.

Runs larder-bench against a real server and against a fake one that lies, and checks what it
reports with the server's own counters.  Ends with "N passed, N failed".
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
sys.dont_write_bytecode = True

from bench.servers import Kind, Load, Machine, Server  # noqa: E402


class Failure(Exception):
    pass


def check(condition, *seen):
    if not condition:
        raise Failure(" ".join(map(str, seen)) or "check failed")


def bench(context, *arguments, port=None, status=0):
    """Runs larder-bench; its JSON object."""
    command = [context.bench, "--port", str(port or context.server.port), "--json",
               *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    check(done.returncode == status, "status", done.returncode, done.stdout, done.stderr, command)
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def counters_since(context, before):
    now = context.server.stats()
    return {name: int(now[name]) - int(before[name])
            for name in ("cmd_get", "cmd_set", "get_hits", "get_misses", "cmd_touch", "incr_hits")}


def fill(context, *arguments, keys=1000):
    return bench(context, "--op", "set", "--order", "sequential", "--keys", keys, "-n", keys,
                 *arguments)


def sequential_stores_leave_every_key(context):
    context.flush()
    result = fill(context, "-P", 7)
    check(result["requests"] == 1000 and result["hits"] == 1000, result)
    check(context.server.stats()["curr_items"] == "1000", context.server.stats()["curr_items"])
    value = context.server.ask("get k00000000000000000000999\r\n", b"END\r\n")
    check(value.startswith("VALUE k00000000000000000000999 0 100\r\n"), value[:60])


def noreply_stores_are_counted_and_arrive(context):
    context.flush()
    result = fill(context, "-P", 100, "--noreply", "-c", 3)
    check(result["requests"] == 1000, result)
    check(context.server.stats()["curr_items"] == "1000")


def requests_match_the_server_counters(context):
    fill(context)
    before = context.server.stats()
    result = bench(context, "--keys", 1000, "-n", 5000, "-P", 16, "-k", 3, "-c", 5)
    gained = counters_since(context, before)
    check(result["requests"] == 5000 and result["keys"] == 15000, result)
    check(result["hits"] == gained["get_hits"] == 15000, result, gained)
    check(result["latency_us"]["min"] > 0 and result["seconds"] > 0, result)


def misses_are_counted(context):
    context.flush()
    fill(context, keys=500)
    result = bench(context, "--keys", 1000, "--order", "sequential", "-n", 1000, "-k", 1)
    check(result["hits"] == 500 and result["misses"] == 500, result)
    result = bench(context, "--op", "miss", "--keys", 500, "-n", 500)
    check(result["misses"] == 500 and result["hits"] == 0, result)


def every_operation_is_understood(context):
    context.flush()
    fill(context, "--numeric")
    knows_meta = context.server.ask("mn\r\n", b"\r\n").startswith("MN")
    for op, hits, misses in [("get", 1000, 0), ("gets", 1000, 0), ("mg", 1000, 0),
                             ("touch", 1000, 0), ("incr", 1000, 0), ("ms", 1000, 0),
                             ("add", 0, 1000), ("delete", 1000, 0), ("get", 0, 1000),
                             ("mg", 0, 1000), ("incr", 0, 1000), ("touch", 0, 1000),
                             ("delete", 0, 1000), ("add", 1000, 0)]:
        if op in ("mg", "ms") and not knows_meta:
            continue
        result = bench(context, "--op", op, "--order", "sequential", "--keys", 1000, "-n", 1000,
                       "-P", 10, "--numeric")
        check(result["hits"] == hits and result["misses"] == misses, op, result)


def a_mix_keeps_its_shares(context):
    fill(context)
    before = context.server.stats()
    bench(context, "--op", "get=90,set=10", "--order", "zipf", "--keys", 1000, "-n", 20000,
          "-P", 16)
    gained = counters_since(context, before)
    check(gained["cmd_get"] + gained["cmd_set"] == 20000, gained)
    check(1600 < gained["cmd_set"] < 2400, gained)


def values_of_every_size_come_back_whole(context):
    context.flush()
    for sizes in ("0-300", "1-70000", "200000"):
        options = ["--value-size", sizes, "--key-size", "20-60"]
        fill(context, *options, "-P", 20, keys=200)
        result = bench(context, "--verify", "--keys", 200, "-n", 400, "-k", 5, "-P", 4, *options)
        check(result["hits"] == 2000 and result["mismatches"] == 0, sizes, result)
        result = bench(context, "--keys", 200, "-n", 400, "-P", 4, "-c", 3, *options)
        check(result["hits"] == 400, sizes, result)


def a_wrong_value_is_noticed(context):
    context.flush()
    fill(context, "--seed", 2)
    result = bench(context, "--verify", "--keys", 1000, "-n", 100, "--seed", 1, status=1)
    check(result["mismatches"] == 100, result)


def an_open_loop_keeps_its_rate(context):
    fill(context)
    result = bench(context, "--rate", 2000, "-s", 1, "--keys", 1000, "-P", 4)
    check(1600 < result["requests"] < 2400, result)


def an_open_loop_counts_from_when_a_request_was_due(context):
    fill(context)
    os.kill(context.server.pid, signal.SIGSTOP)
    resume = threading.Timer(0.5, os.kill, (context.server.pid, signal.SIGCONT))
    resume.start()
    try:
        result = bench(context, "--rate", 1000, "-s", 1, "--keys", 1000, "-c", 1, "--even")
    finally:
        resume.join()
    check(result["requests"] > 900, result)
    # Half a second of requests waited, each a little less than the one before.
    check(result["latency_us"]["p90"] > 200_000, result["latency_us"])


def threads_share_the_requests(context):
    context.flush()
    fill(context, "--threads", 3, "-c", 4, keys=3000)
    check(context.server.stats()["curr_items"] == "3000")


def the_probe_reports_the_server(context):
    result = bench(context, "probe", "--pid", context.server.pid, "-s", 0.5, "--port",
                   context.server.port, "--json")
    check(result["requests"] > 100, result)
    check(0 < result["max_server_us"] <= result["max_unqueued_us"] <= result["max_wall_us"], result)


def fake_server(reply):
    """A port where every request is answered with `reply`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                connection.sendall(reply)
    threading.Thread(target=serve, daemon=True).start()
    return listener, listener.getsockname()[1]


def nonsense_ends_the_run(context):
    for reply in (b"HELLO\r\n", b"STORED\r\n", b"VALUE k 0 3\r\nabcdEND\r\n", b"VALUE k 0 x\r\n",
                  b"END\n", b"END\r\nEND\r\nEND\r\n"):
        listener, port = fake_server(reply)
        with listener:
            result = bench(context, "-n", 10, "-c", 1, port=port, status=1)
        check(result["failure"], reply, result)


def error_replies_are_counted(context):
    listener, port = fake_server(b"SERVER_ERROR out of memory\r\n")
    with listener:
        result = bench(context, "-n", 10, "-c", 1, port=port, status=1)
    check(result["errors"] == 10, result)
    check(result["first_error"] == "SERVER_ERROR out of memory", result)


def bad_options_are_refused(context):
    for options in (["--op", "fly"], ["--value-size", "9-3"], ["--key-size", "3"], ["-c", "0"],
                    ["--order", "random"], ["--op", "get=0"], ["--threads", "2", "-c", "1"]):
        done = subprocess.run([context.bench, *options], capture_output=True, text=True, timeout=10)
        check(done.returncode not in (0, 1) and done.stderr, options, done)


TESTS = [
    sequential_stores_leave_every_key, noreply_stores_are_counted_and_arrive,
    requests_match_the_server_counters, misses_are_counted, every_operation_is_understood,
    a_mix_keeps_its_shares, values_of_every_size_come_back_whole, a_wrong_value_is_noticed,
    an_open_loop_keeps_its_rate, an_open_loop_counts_from_when_a_request_was_due,
    threads_share_the_requests, the_probe_reports_the_server, nonsense_ends_the_run,
    error_replies_are_counted, bad_options_are_refused,
]


class Context:
    def __init__(self, server, bench_path):
        self.server = server
        self.bench = bench_path

    def flush(self):
        """Deletes everything, and waits until the server counts no item."""
        before = self.server.stats()["curr_items"]
        self.server.ask("flush_all\r\n", b"OK\r\n")
        if before != "0":
            # A flushed item is counted until it is met; a get meets it.
            for _ in range(2):
                subprocess.run([self.bench, "--port", str(self.server.port), "--order",
                                "sequential", "--keys", "3000", "-n", "3000", "-P", "100"],
                               capture_output=True, timeout=60)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="larder or memcached")
    parser.add_argument("--bench", default=str(ROOT / "build/release/larder-bench"))
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    failed = 0
    with Server(Kind("server", [args.server]), Machine(cores[0], cores[-1]), 256) as server:
        context = Context(server, args.bench)
        for test in TESTS:
            start, status = time.monotonic(), "ok"
            try:
                test(context)
            except Exception as error:  # a test that breaks has failed, the others still run
                status = "FAIL"
                print(f"{test.__name__}: {error}")
            failed += status == "FAIL"
            name = test.__name__.replace("_", " ")
            print(f"{status:4} {time.monotonic() - start:7.2f} s  larder-bench: {name}", flush=True)
    print(f"{len(TESTS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What bench/run.py measures: the arguments of the load tool, by name."""

PEERS = ["ws", "socket.io", "nchan", "nats", "centrifuge", "naive"]

NODES_FIGURES = ["all_cpu_s_per_million", "cpu_s_per_million", "redis_cpu_s_per_million", "p50_other_node_ms", "p99_other_node_ms", "lost",
                 "repeated_or_late"]

# Name: (what it shows, the yardsticks beside the gateway, arguments of the load tool, figures for a reader)
SCENARIOS = {
    "idle": ("memory of an idle connection: authenticated, one channel", ["raw"],
             "idle --connections 10000 --rooms 1000 --processes 2", ["pss_bytes", "kernel_bytes_both_ends", "connect_cpu_us"]),
    "idle-presence": ("the same with three channels and presence", ["raw"],
                      "idle --connections 10000 --rooms 1000 --channels 3 --presence --processes 2",
                      ["pss_bytes", "connect_cpu_us"]),
    "fanout": ("one message at a time to a room of 1,000", ["raw"],
               "fanout --connections 1000 --messages 200", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "fanout-5000": ("one message at a time to a room of 5,000", ["raw"],
                    "fanout --connections 5000 --messages 40", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "fanout-15000": ("one message at a time to a room of 15,000", ["raw"],
                     "fanout --connections 15000 --messages 15 --processes 2", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "burst": ("bursts of ten messages to a room of 1,000", ["raw-writev"],
              "fanout --connections 1000 --messages 40 --burst 10", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "rooms": ("10,000 connections in 1,000 rooms, 100 publishers", ["raw"],
              "rooms --connections 10000 --rooms 1000 --publishers 100 --messages 100 --processes 2",
              ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "rate": ("100 messages a second to a room of 1,000", ["raw"],
             "fanout --connections 1000 --messages 300 --rate 100", ["p50_ms", "p99_ms", "cpu_s_per_million"]),
    "two-nodes": ("one message at a time to a room of 1,000, half of it on each of two nodes over one Redis", [],
                  "fanout --nodes 2 --connections 1000 --messages 200", NODES_FIGURES),
    # Long enough that what a JIT compiles at first does not decide.
    "two-nodes-rooms": ("2,000 connections in 200 rooms, half of each on each of two nodes over one Redis, 20 publishers", [],
                        "rooms --nodes 2 --connections 2000 --rooms 200 --publishers 20 --messages 1000", NODES_FIGURES),
    "churn": ("connect, upgrade, token, subscribe, close", ["raw"],
              "churn --cycles 5000 --in-flight 32 --rooms 100", ["cpu_us_per_cycle", "failed"]),
}

# Those that each peer can do as it comes.
WITH_PEERS = ["fanout", "burst", "rooms", "rate", "churn", "idle", "two-nodes", "two-nodes-rooms"]


def peers_of(name, wanted):
    """Several nodes over one Redis: not every peer comes as that."""
    return [peer for peer in wanted if not name.startswith("two-nodes") or peer in ("socket.io", "naive")]


def _channel(size):
    return f"fanout --connections {size} --messages {min(2000, 200000 // size)} --processes 2"


# How cost grows. Name: (what grows, yardsticks, (value, arguments) for each point, figures to plot)
GROWTH = {
    "connections-idle": ("connections in one process, idle, in rooms of ten", ["raw"],
                         [(n, f"idle --connections {n} --rooms {n // 10} --processes 2") for n in (1000, 2000, 4000, 8000, 16000)],
                         ["pss_bytes", "connect_cpu_us", "idle_cpu_ms_per_s"]),
    "connections": ("connections in one process, messages in rooms of ten", ["raw"],
                    [(n, f"rooms --connections {n} --rooms {n // 10} --publishers 50 --messages 100 --processes 2")
                     for n in (1000, 2000, 4000, 8000, 16000)], ["cpu_s_per_million", "p50_ms"]),
    "channel-size": ("subscribers of one channel", ["raw"], [(n, _channel(n)) for n in (10, 100, 1000, 4000, 16000)],
                     ["cpu_s_per_million", "p50_ms"]),
    "message-size": ("bytes of text in a message, to 1,000 subscribers", ["raw"],
                     [(n, f"fanout --connections 1000 --messages 50 --padding {n}") for n in (50, 200, 1000, 4000, 16000)],
                     ["cpu_s_per_million", "p50_ms"]),
    "shards": ("shards of the gateway on two cores that the clients use too, 2,000 connections in rooms of ten", [],
               [(n, f"rooms --connections 2000 --rooms 200 --publishers 50 --messages 200 --shards {n} --no-pin") for n in (1, 2)],
               ["cpu_s_per_million", "p50_ms"]),
    # By `starling_bench cluster`: clusters.grow.
    "nodes": ("nodes on one Redis, 6,000 connections in rooms of ten with presence", [],
              [(n, f"--connections 6000 --nodes {n} --processes 2 --in-flight 1024 --samples 200 --rest 2 --seconds 3 --storm 0 --kill 0")
               for n in (1, 2, 3, 4, 6)],
              ["connect_cpu_us", "change_cpu_us", "message_cpu_us", "join_p50_ms", "join_p99_ms", "pss_bytes"]),
}

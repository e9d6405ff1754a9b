#pragma once
// What a loop knows of one connection: first an HTTP client, then perhaps a WebSocket.
// Included by the loop's own files only.

#include <map>
#include <optional>
#include <string>

#include "base/apart.h"
#include "server/shard_loop.h"

namespace starling::server {

struct ShardLoop::Peer {
    enum class Kind : std::uint8_t { http, native, echo, closing };
    net::ConnectionId id;                    // Generation 0: the place is free.
    Kind kind = Kind::http;
    bool admin = false;
    bool held = false;                       // Input waits, for either of:
    bool waits = false;                      //   an answer, or `connected`;
    bool stalled = false;                    //   the peer, who asks more than it reads of our answers.
    bool served = false;                     // Has shown who it is: connected, or an API key.
    bool keep_alive = true;
    bool head_only = false;
    bool probed = false;                     // Its next bytes are told to the domain.
    bool counted = false;                    // In AddressCounts.
    std::uint8_t window_bits = 0;            // Not 0: permessage-deflate was agreed.
    std::uint16_t close_code = 0;            // What we closed with.
    std::optional<domain::SessionId> session;
    std::uint32_t control_frames = 0;        // Since control_since: pings and pongs.
    Instant control_since{};
    Instant last_received{};
    Instant next_ping{};
    Instant timer = Instant::max();          // The one timer entry that counts.

    // What an idle WebSocket does without.
    struct Latest { SharedBytes text; std::uint64_t skipped = 0; };
    struct More {
        std::unique_ptr<codec::http::Parser> parser;
        std::optional<codec::websocket::Reader> reader;   // In the middle of a message.
        std::string inbox;                   // Came while held.
        std::size_t stalled_bytes = 0;       // What was queued when we last looked.
        Instant deadline{};                  // By when the request at hand must be here.
        std::string address;                 // Of the client behind trusted proxies, or where it is counted; else empty.
        std::map<std::uint32_t, Latest> latest;  // slow_consumer = "latest": what waits for room, by channel.
    };
    Apart<More> more;
    void trim() {
        if (more && kind != Kind::http && !counted && !stalled && !more->parser && !more->reader && more->inbox.empty() &&
            more->latest.empty()) {
            more.reset();
        }
    }
};

struct ShardLoop::ApiCall {
    net::ConnectionId connection;
    std::size_t app = 0;
    bool batch = false;
    std::vector<codec::backend::Batch::Item> items;
    std::vector<codec::backend::Reply> replies;
};

// The last text and what it looks like on the wire, so that a fan-out frames and compresses once.
struct ShardLoop::Frames {
    SharedBytes source;                      // Held, so that its identity cannot be reused.
    SharedBytes plain;
    std::map<std::uint8_t, SharedBytes> deflated;   // By window bits.
};

}  // namespace starling::server

#pragma once
// What the transport keeps of each connection and listener, for its files.

#include <sys/socket.h>

#include "net/frame_queue.h"
#include "net/transport.h"

namespace starling::net {

constexpr std::uint32_t kListenerMark = 0xffffffff;
constexpr std::uint32_t kWakeMark = 0xfffffffe;
constexpr std::uint32_t kResolvedMark = 0xfffffffd;
constexpr std::size_t kJoinedMost = 16384;   // Bytes to one connection: more at once gains nothing by being joined.

inline std::uint64_t pack(ConnectionId id) { return (std::uint64_t{id.generation} << 32) | id.slot; }

// A connection that we make: its addresses are tried one after the other.
struct Outgoing {
    std::string host;
    std::vector<SocketAddress> addresses;
    std::size_t next = 0;
    bool established = false;
    std::shared_ptr<TlsContext> tls;
};

struct Transport::Connection {
    int descriptor = -1;
    std::uint32_t generation = 0;
    std::uint32_t armed = 0;
    bool used : 1 = false;
    bool held : 1 = false;
    bool touched : 1 = false;
    bool blocked : 1 = false;                  // The kernel's buffer is full: EPOLLOUT goes on writing.
    bool closing : 1 = false;
    FrameQueue queue;
    std::unique_ptr<TlsSession> tls;
    struct Proxied {
        bool expected = true;
        std::string begun;                   // Of a PROXY header that is not whole yet.
        std::string address;
    };
    std::unique_ptr<Proxied> proxied;        // Only where a proxy that we trust connected.
    std::unique_ptr<Outgoing> outgoing;      // Ours to another server.
};

struct Transport::Listener {
    int descriptor = -1;
    std::uint32_t name = 0;
    std::shared_ptr<TlsContext> tls;
};

}  // namespace starling::net

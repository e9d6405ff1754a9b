#pragma once
// One shard's sockets: an epoll loop that is asked, not one that calls back. What is sent waits in a
// queue of shared frames and leaves at flush(), with one write for each touched connection or one for many.

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/slots.h"
#include "base/time.h"
#include "net/frame_queue.h"
#include "net/resolver.h"
#include "net/send_ring.h"
#include "net/tls.h"

namespace starling::net {

struct ConnectionId {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    bool operator==(const ConnectionId&) const = default;
};

struct Event {
    enum class Kind : std::uint8_t {
        accepted,   // `listener` says where; `connection` is new.
        readable,
        closed,     // The peer or the kernel ended it; its slot is free after this turn.
        woken,      // The event descriptor given to watch().
        connected,  // Ours to another server, which may be written to from now on.
    };
    Kind kind = Kind::readable;
    ConnectionId connection;
    std::uint32_t listener = 0;
};

class Transport {
 public:
    Transport();
    ~Transport();
    Transport(const Transport&) = delete;

    // Listens with SO_REUSEPORT; port 0 takes a free one. Returns the bound port.
    std::expected<std::uint16_t, std::string> listen(const std::string& host, std::uint16_t port, std::uint32_t listener);
    void set_tls(std::uint32_t listener, std::shared_ptr<TlsContext> context);
    void watch(int event_descriptor);
    void stop_listening();

    // To another server, by TLS if there is a context (a client's). A host that is no number is looked up beside
    // this thread. Event::connected follows, or Event::closed with `why_closed`.
    ConnectionId connect(const std::string& host, std::uint16_t port, std::shared_ptr<TlsContext> tls);
    std::string why_closed(ConnectionId connection) const;   // Of one of ours; until the next wait().
    void abandon(ConnectionId connection);   // At once, and no Event::closed follows.

    // Waits until something happens, at most `timeout`; appends to `out`.
    void wait(Duration timeout, std::vector<Event>& out);
    // What has come, unmasked by TLS, in a buffer that lives until the next call. Empty: nothing now.
    // The end of the stream comes as Event::closed.
    std::span<char> read(ConnectionId connection);
    // Stops or goes on reporting a connection readable.
    void hold(ConnectionId connection, bool held);

    void send(ConnectionId connection, SharedBytes bytes);
    // Not where more than `limit` bytes would then wait to be sent: returns whether it did not come to that.
    bool send_within(ConnectionId connection, const SharedBytes& bytes, std::size_t limit);
    std::size_t queued_bytes(ConnectionId connection) const;
    void flush();                            // Everything that was sent since the last flush.
    // From now on one frame to many leaves by io_uring, if the kernel lets this thread: returns whether. Of the thread
    // that flushes.
    bool use_send_ring();
    // When its queue is empty our half is closed; it is gone when the peer closes too or `within` is over.
    void close_after_flush(ConnectionId connection, Duration within, Instant now);
    // The peer has said its last word, and nothing behind it counts: gone at once where what waits for it leaves at once, else
    // as by close_after_flush.
    void end_after_flush(ConnectionId connection, Duration within, Instant now);
    void expire(Instant now);                // Ends those whose close_after_flush is over.

    // To be said at `accepted`: the connection may begin with a PROXY header, which is taken off, before
    // TLS too, and whose address is the peer's from then on. A malformed one ends it.
    void expect_proxy_header(ConnectionId connection);
    std::string peer_address(ConnectionId connection) const;
    std::size_t connection_count() const { return count_; }

 private:
    struct Connection;
    struct Listener;
    Connection* find(ConnectionId id);
    const Connection* find(ConnectionId id) const { return const_cast<Transport*>(this)->find(id); }
    void queue(ConnectionId id, Connection& connection, SharedBytes bytes);
    ConnectionId take_slot();
    void forget(Connection& connection);
    void on_resolved();
    void on_connecting(ConnectionId id, Connection& connection, std::vector<Event>& out);
    bool try_next_address(ConnectionId id, Connection& connection);
    static int newcomers_end();
    void accept_all(Listener& listener, std::vector<Event>& out);
    void write_queue(ConnectionId id, Connection& connection);
    void sweep();
    void submit_sweep();
    void rearm();
    bool on_written(ConnectionId id, Connection& connection, ssize_t written, int failure);
    void arm(ConnectionId id, Connection& connection);
    void drop(ConnectionId id, Connection& connection);
    void drop_ended();
    std::span<char> take_proxy_header(ConnectionId id, Connection& connection, std::size_t count);
    void report_broken(std::vector<Event>& out);
    void touch(ConnectionId id, Connection& connection);

    int epoll_ = -1;
    int spare_ = -1;                         // Given up for a moment when descriptors run out.
    std::vector<std::unique_ptr<Listener>> listeners_;
    Slots<Connection> connections_;
    FrameQueue::Pool lists_;
    std::vector<ConnectionId> touched_;
    std::unique_ptr<SendRing> ring_;         // Null: each connection is written to by a call of its own.
    std::vector<ConnectionId> swept_;        // Those in the ring's batch.
    std::vector<char> joined_;               // Frames that leave together, for the batch.
    std::vector<ConnectionId> rearming_;     // What epoll is to watch may have changed.
    std::vector<ConnectionId> ended_;        // By TLS, in this turn; dropped in the next wait().
    std::vector<ConnectionId> broken_;       // To be reported as closed.
    std::multimap<Instant, ConnectionId> closing_;
    std::vector<char> buffer_;
    std::string plain_;
    std::size_t count_ = 0;
    std::unique_ptr<Resolver> resolver_;     // With the first name.
    std::unordered_map<std::uint64_t, std::string> reasons_;
};

}  // namespace starling::net

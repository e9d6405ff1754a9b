// The way out: what is sent waits with its connection and leaves once a turn, in as few system calls as the kernel allows.

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

#include "net/transport_state.h"

namespace starling::net {

namespace {

constexpr int kFramesPerWrite = 256;
constexpr std::size_t kSweep = 8;            // Connections below which a ring's own cost is not earned.
constexpr std::size_t kJoinedByRing = 262144;
constexpr ConnectionId kNobody{0xffffffff, 0};

}  // namespace

void Transport::touch(ConnectionId id, Connection& connection) {
    if (connection.touched) { return; }
    connection.touched = true;
    touched_.push_back(id);
}

void Transport::send(ConnectionId id, SharedBytes bytes) {
    Connection* connection = find(id);
    if (connection == nullptr || bytes.size() == 0) { return; }
    if (connection->outgoing && !connection->outgoing->established) { return; }
    if (connection->tls) {
        connection->tls->encrypt(bytes.view());
        bytes = SharedBytes(ByteView(connection->tls->take_output()));
        if (bytes.size() == 0) { return; }
    }
    queue(id, *connection, std::move(bytes));
}

bool Transport::send_within(ConnectionId id, const SharedBytes& bytes, std::size_t limit) {
    Connection* connection = find(id);
    if (connection == nullptr) { return true; }
    if (connection->queue.bytes() + bytes.size() > limit) { return false; }
    if (connection->tls || connection->outgoing) {
        send(id, bytes);
    } else {
        queue(id, *connection, bytes);
    }
    return true;
}

void Transport::queue(ConnectionId id, Connection& connection, SharedBytes bytes) {
    connection.queue.push(std::move(bytes), lists_);
    touch(id, connection);
}

std::size_t Transport::queued_bytes(ConnectionId id) const {
    const Connection* connection = find(id);
    return connection == nullptr ? 0 : connection->queue.bytes();
}

// Returns whether there may be more to write. `written` is negative where `failure` says why.
bool Transport::on_written(ConnectionId id, Connection& connection, ssize_t written, int failure) {
    if (written >= 0) {
        connection.queue.drop(static_cast<std::size_t>(written), lists_);
        return true;
    }
    if (failure == EINTR) { return true; }
    if (failure != EAGAIN) {
        drop(id, connection);
        return false;
    }
    connection.blocked = true;
    arm(id, connection);
    return false;
}

void Transport::write_queue(ConnectionId id, Connection& connection) {
    while (!connection.queue.empty()) {
        iovec parts[kFramesPerWrite];
        const int count = connection.queue.fill(parts, kFramesPerWrite);
        ssize_t written = 0;
        if (count == 1) {
            written = ::send(connection.descriptor, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL);
        } else {
            msghdr message{};
            message.msg_iov = parts;
            message.msg_iovlen = static_cast<std::size_t>(count);
            written = ::sendmsg(connection.descriptor, &message, MSG_NOSIGNAL);
        }
        if (!on_written(id, connection, written, errno)) { return; }
    }
    // Half first: a reset because of bytes we did not read could overtake our last answer.
    if (connection.closing) { ::shutdown(connection.descriptor, SHUT_WR); }
}

void Transport::flush() {
    sweep();
    // What is too long to be joined, or closes, by itself. A drop inside adds nothing here: touched_ only grows by send().
    for (const ConnectionId id : touched_) {
        Connection* connection = find(id);
        if (connection == nullptr || !connection->touched) { continue; }
        connection->touched = false;
        if (!connection->blocked) { write_queue(id, *connection); }
    }
    touched_.clear();
}

bool Transport::use_send_ring() {
    ring_ = SendRing::open();
    if (ring_) { joined_.resize(kJoinedByRing); }
    return ring_ != nullptr;
}

// What waits for each leaves in one piece. Several frames are joined, for a copy of some hundred bytes is cheaper than as
// many parts of a message; after a burst to one channel one copy does for all. With a ring, and enough of them to earn its
// cost, many connections share a system call.
void Transport::sweep() {
    const bool ring = ring_ && touched_.size() >= kSweep;
    const FrameQueue* last = nullptr;        // Whose frames `bytes` are.
    std::string_view bytes;
    std::size_t used = 0;
    const auto begin_again = [&] {
        if (ring) { submit_sweep(); }
        last = nullptr;
        used = 0;
    };
    for (const ConnectionId id : touched_) {
        Connection* connection = find(id);
        if (connection == nullptr || connection->blocked || connection->closing || connection->queue.empty()) { continue; }
        const FrameQueue& queue = connection->queue;
        if (queue.single()) {
            bytes = queue.front();
            last = nullptr;
        } else if (last == nullptr || !queue.same_as(*last)) {
            if (queue.bytes() > kJoinedMost) { continue; }   // It stays touched.
            if (used + queue.bytes() > joined_.size()) { begin_again(); }
            if (ring && !ring_) { return; }
            queue.copy_to(joined_.data() + used);
            bytes = {joined_.data() + used, queue.bytes()};
            used += bytes.size();
            last = &queue;
        }
        connection->touched = false;
        if (!ring) {
            const ssize_t written = ::send(connection->descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (on_written(id, *connection, written, errno)) { write_queue(id, *connection); }
            begin_again();
            continue;
        }
        ring_->add(connection->descriptor, bytes);
        swept_.push_back(id);
        if (!ring_->full()) { continue; }
        begin_again();
        if (!ring_) { return; }
    }
    if (ring) { submit_sweep(); }
}

void Transport::submit_sweep() {
    std::uint32_t taken = 0;
    const auto outcomes = ring_->submit(taken);
    // Those that failed first: they wait, or are gone, and are passed over below.
    for (const SendRing::Outcome& outcome : outcomes) {
        const ConnectionId id = std::exchange(swept_[outcome.place], kNobody);
        Connection& connection = *find(id);
        if (on_written(id, connection, outcome.result, -outcome.result)) { write_queue(id, connection); }
    }
    for (std::uint32_t i = 0; i < taken; ++i) {
        if (Connection* connection = find(swept_[i])) { connection->queue.drop(connection->queue.bytes(), lists_); }
    }
    for (std::size_t i = taken; i < swept_.size(); ++i) {
        if (Connection* connection = find(swept_[i])) { write_queue(swept_[i], *connection); }
    }
    if (taken < swept_.size()) { ring_.reset(); }
    swept_.clear();
}

void Transport::close_after_flush(ConnectionId id, Duration within, Instant now) {
    Connection* connection = find(id);
    if (connection == nullptr) { return; }
    connection->closing = true;
    closing_.emplace(now + within, id);
    touch(id, *connection);
}

// Without unread bytes there is no reset that could overtake our last answer. A TLS peer may still say that it closes.
void Transport::end_after_flush(ConnectionId id, Duration within, Instant now) {
    Connection* connection = find(id);
    if (connection == nullptr) { return; }
    if (!connection->tls && !connection->blocked) {
        write_queue(id, *connection);
        if (connection->queue.empty()) {
            drop(id, *connection);
            return;
        }
    }
    close_after_flush(id, within, now);
}

void Transport::expire(Instant now) {
    while (!closing_.empty() && closing_.begin()->first <= now) {
        const ConnectionId id = closing_.begin()->second;
        closing_.erase(closing_.begin());
        if (Connection* connection = find(id)) { drop(id, *connection); }
    }
}

}  // namespace starling::net

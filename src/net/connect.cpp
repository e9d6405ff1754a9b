// Connections that we make: look-up, non-blocking connect, one address after the other.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/transport_state.h"

namespace starling::net {

ConnectionId Transport::connect(const std::string& host, std::uint16_t port, std::shared_ptr<TlsContext> tls) {
    const ConnectionId id = take_slot();
    Connection& connection = connections_[id.slot];
    connection.outgoing = std::make_unique<Outgoing>();
    connection.outgoing->host = host;
    connection.outgoing->tls = std::move(tls);
    connection.outgoing->addresses = look_up(host, port, Lookup::numbers_only);
    if (!connection.outgoing->addresses.empty()) {
        if (!try_next_address(id, connection)) { drop(id, connection); }
        return id;
    }
    if (!resolver_) {
        resolver_ = std::make_unique<Resolver>();
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = kResolvedMark;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, resolver_->event(), &event);
    }
    resolver_->ask(pack(id), host, port);
    return id;
}

void Transport::on_resolved() {
    std::uint64_t drained = 0;
    [[maybe_unused]] const auto size = ::read(resolver_->event(), &drained, sizeof drained);
    std::vector<Resolved> answers;
    resolver_->drain(answers);
    for (Resolved& answer : answers) {
        const ConnectionId id{static_cast<std::uint32_t>(answer.ticket), static_cast<std::uint32_t>(answer.ticket >> 32)};
        Connection* connection = find(id);
        if (connection == nullptr) { continue; }
        connection->outgoing->addresses = std::move(answer.addresses);
        if (connection->outgoing->addresses.empty()) { reasons_[answer.ticket] = "the host is unknown"; }
        if (!try_next_address(id, *connection)) { drop(id, *connection); }
    }
}

// False: there is none left; the reason is that of the last.
bool Transport::try_next_address(ConnectionId id, Connection& connection) {
    Outgoing& outgoing = *connection.outgoing;
    while (outgoing.next < outgoing.addresses.size()) {
        const SocketAddress& address = outgoing.addresses[outgoing.next++];
        const int descriptor = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0) {
            reasons_[pack(id)] = std::strerror(errno);
            continue;
        }
        if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0 ||
            errno == EINPROGRESS) {
            connection.descriptor = descriptor;
            epoll_event event{};
            event.events = connection.armed = EPOLLOUT;
            event.data.u64 = pack(id);
            ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
            return true;
        }
        reasons_[pack(id)] = std::strerror(errno);
        ::close(descriptor);
    }
    return false;
}

void Transport::on_connecting(ConnectionId id, Connection& connection, std::vector<Event>& out) {
    int failure = 0;
    socklen_t size = sizeof failure;
    ::getsockopt(connection.descriptor, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure != 0) {
        reasons_[pack(id)] = std::strerror(failure);
        ::close(connection.descriptor);
        connection.descriptor = -1;
        if (!try_next_address(id, connection)) { drop(id, connection); }
        return;
    }
    const int on = 1;
    ::setsockopt(connection.descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection.outgoing->established = true;
    if (connection.outgoing->tls) {
        // What is sent before the handshake is done waits inside.
        connection.tls = std::make_unique<TlsSession>(connection.outgoing->tls, connection.outgoing->host);
        queue(id, connection, SharedBytes(ByteView(connection.tls->take_output())));
    }
    arm(id, connection);
    out.push_back({Event::Kind::connected, id, 0});
}

std::string Transport::why_closed(ConnectionId id) const {
    const auto at = reasons_.find(pack(id));
    return at == reasons_.end() ? "the connection was ended" : at->second;
}

void Transport::abandon(ConnectionId id) {
    Connection* connection = find(id);
    if (connection == nullptr) { return; }
    forget(*connection);
    connections_.give_back(id.slot);
}

}  // namespace starling::net

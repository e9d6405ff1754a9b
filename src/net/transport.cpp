#include "net/transport_state.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "codec/proxy_protocol.h"

namespace starling::net {

namespace {

constexpr std::size_t kBufferBytes = 65536;

}  // namespace

Transport::Transport()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)), joined_(kJoinedMost), buffer_(kBufferBytes) {}

Transport::~Transport() {
    stop_listening();
    for (auto& connection : connections_) {
        if (connection.used && connection.descriptor >= 0) { ::close(connection.descriptor); }
    }
    ::close(epoll_);
    if (spare_ >= 0) { ::close(spare_); }
}

std::expected<std::uint16_t, std::string> Transport::listen(const std::string& host, std::uint16_t port,
                                                            std::uint32_t listener) {
    addrinfo hints{};
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string service = std::to_string(port);
    if (::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found) != 0 || found == nullptr) {
        return std::unexpected(host + ": no such address");
    }
    const int descriptor = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   // Whoever is accepted inherits it.
    const bool bound = ::bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 && ::listen(descriptor, 4096) == 0;
    const int failure = errno;
    ::freeaddrinfo(found);
    if (!bound) {
        ::close(descriptor);
        return std::unexpected(host + ":" + service + ": " + std::strerror(failure));
    }
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
    const std::uint16_t real = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                                                  : reinterpret_cast<sockaddr_in&>(address).sin_port);
    auto entry = std::make_unique<Listener>();
    entry->descriptor = descriptor;
    entry->name = listener;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = (static_cast<std::uint64_t>(listeners_.size()) << 32) | kListenerMark;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
    listeners_.push_back(std::move(entry));
    return real;
}

void Transport::set_tls(std::uint32_t listener, std::shared_ptr<TlsContext> context) {
    for (auto& entry : listeners_) {
        if (entry->name == listener) { entry->tls = context; }
    }
}

void Transport::watch(int event_descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = (static_cast<std::uint64_t>(event_descriptor) << 32) | kWakeMark;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_descriptor, &event);
}

void Transport::stop_listening() {
    for (auto& listener : listeners_) {
        if (listener->descriptor >= 0) { ::close(listener->descriptor); }
        listener->descriptor = -1;
    }
}

Transport::Connection* Transport::find(ConnectionId id) {
    if (id.slot >= connections_.size()) { return nullptr; }
    Connection& connection = connections_[id.slot];
    return connection.used && connection.generation == id.generation ? &connection : nullptr;
}

ConnectionId Transport::take_slot() {
    ConnectionId id;
    id.slot = connections_.take();
    Connection& connection = connections_[id.slot];
    id.generation = connection.generation + 1;
    connection = Connection{};
    connection.generation = id.generation;
    connection.used = true;
    ++count_;
    return id;
}

// The first descriptor that no newcomer is given. The last ones are for connections that we make: whoever is full of
// clients must find Redis again when that connection breaks. The kernel gives the lowest number that is free, so a
// number says how many are left.
int Transport::newcomers_end() {
    constexpr rlim_t kOurs = 32;             // Two a server of Redis and a shard, and those of the sentinels.
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<int>(std::min<rlim_t>(limit.rlim_cur - std::min(kOurs, limit.rlim_cur / 4), INT_MAX));
}

void Transport::accept_all(Listener& listener, std::vector<Event>& out) {
    const int end = newcomers_end();
    // Another thread may have been given it in the moment in which it was given up.
    if (spare_ < 0) { spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
    // Bounded, so that a storm of newcomers does not starve those who are here.
    for (int i = 0; i < 256; ++i) {
        const int descriptor = ::accept4(listener.descriptor, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) {
            if ((errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
                // Out of descriptors: the spare one lets us take the caller and hang up, instead of
                // spinning on a listener that stays readable.
                ::close(spare_);
                const int refused = ::accept4(listener.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
                if (refused >= 0) { ::close(refused); }
                spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (refused >= 0) { continue; }
            }
            return;
        }
        if (descriptor >= end) {
            ::close(descriptor);
            continue;
        }
        const ConnectionId id = take_slot();
        Connection& connection = connections_[id.slot];
        connection.descriptor = descriptor;
        if (listener.tls) { connection.tls = std::make_unique<TlsSession>(listener.tls); }
        epoll_event event{};
        event.events = connection.armed = EPOLLIN | EPOLLRDHUP;
        event.data.u64 = pack(id);
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
        out.push_back({Event::Kind::accepted, id, listener.name});
    }
}

void Transport::wait(Duration timeout, std::vector<Event>& out) {
    drop_ended();
    rearm();
    // Those that are still to be told are kept.
    std::erase_if(reasons_, [&](const auto& one) {
        return std::ranges::none_of(broken_, [&](ConnectionId id) { return pack(id) == one.first; });
    });
    epoll_event events[512];
    const auto milliseconds = std::clamp<std::int64_t>((timeout + 999us) / 1ms, 0, 60000);
    const int count = ::epoll_wait(epoll_, events, 512, broken_.empty() ? static_cast<int>(milliseconds) : 0);
    for (int i = 0; i < count; ++i) {
        const std::uint64_t data = events[i].data.u64;
        const auto low = static_cast<std::uint32_t>(data);
        const auto high = static_cast<std::uint32_t>(data >> 32);
        if (low == kListenerMark) {
            if (listeners_[high]->descriptor >= 0) { accept_all(*listeners_[high], out); }
            continue;
        }
        if (low == kWakeMark) {
            std::uint64_t drained = 0;
            [[maybe_unused]] const auto size = ::read(static_cast<int>(high), &drained, sizeof drained);
            out.push_back({Event::Kind::woken, {}, 0});
            continue;
        }
        if (low == kResolvedMark) {
            on_resolved();
            continue;
        }
        const ConnectionId id{low, high};
        Connection* connection = find(id);
        if (connection == nullptr) { continue; }
        if (connection->outgoing && !connection->outgoing->established) {
            on_connecting(id, *connection, out);
            continue;
        }
        if ((events[i].events & EPOLLOUT) != 0) {
            connection->blocked = false;
            write_queue(id, *connection);
            arm(id, *connection);
        }
        if ((events[i].events & EPOLLERR) != 0 || ((events[i].events & EPOLLHUP) != 0)) {
            drop(id, *connection);
        } else if ((events[i].events & (EPOLLIN | EPOLLRDHUP)) != 0) {
            // A held connection still notices that its peer has gone, and only then is reported.
            if (!connection->held) {
                out.push_back({Event::Kind::readable, id, 0});
            } else if ((events[i].events & EPOLLRDHUP) != 0) {
                drop(id, *connection);
            }
        }
    }
    report_broken(out);
}

// A slot is free only now: were it given to a newcomer before its owner heard of the end, the old
// connection's session would never be told that it is gone.
void Transport::report_broken(std::vector<Event>& out) {
    for (const ConnectionId id : broken_) {
        out.push_back({Event::Kind::closed, id, 0});
        connections_.give_back(id.slot);
    }
    broken_.clear();
}

// The owner learns of it by Event::closed in the next wait(); the descriptor is gone at once.
void Transport::drop(ConnectionId id, Connection& connection) {
    if (!connection.used) { return; }
    broken_.push_back(id);
    forget(connection);
}

void Transport::forget(Connection& connection) {
    if (connection.descriptor >= 0) { ::close(connection.descriptor); }
    const std::uint32_t generation = connection.generation;
    connection = Connection{};
    connection.generation = generation;
    --count_;
}

std::span<char> Transport::read(ConnectionId id) {
    Connection* connection = find(id);
    if (connection == nullptr || std::ranges::find(ended_, id) != ended_.end()) { return {}; }
    const ssize_t count = ::recv(connection->descriptor, buffer_.data(), buffer_.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) { return {}; }
    if (count <= 0) {
        if (connection->outgoing) { reasons_[pack(id)] = count == 0 ? "the server closed the connection" : std::strerror(errno); }
        drop(id, *connection);
        return {};
    }
    std::span<char> bytes{buffer_.data(), static_cast<std::size_t>(count)};
    if (connection->proxied && connection->proxied->expected) {
        bytes = take_proxy_header(id, *connection, bytes.size());
        if (bytes.empty()) { return {}; }
    }
    if (!connection->tls) { return bytes; }
    plain_.clear();
    const bool alive = connection->tls->receive({bytes.data(), bytes.size()}, plain_);
    if (std::string output = connection->tls->take_output(); !output.empty()) {
        queue(id, *connection, SharedBytes(ByteView(output)));
    }
    if (!alive) { ended_.push_back(id); }    // What came in front of the end counts: it may be a farewell.
    return {plain_.data(), plain_.size()};
}

// Those whose TLS session is over, after what was said in answer to their last words.
void Transport::drop_ended() {
    for (const ConnectionId id : std::exchange(ended_, {})) {
        Connection* connection = find(id);
        if (connection == nullptr) { continue; }
        if (connection->outgoing) { reasons_[pack(id)] = connection->tls->failure(); }
        write_queue(id, *connection);
        drop(id, *connection);
    }
}

// The first `count` bytes of buffer_, behind those that came before, without the header.
std::span<char> Transport::take_proxy_header(ConnectionId id, Connection& connection, std::size_t count) {
    Connection::Proxied& proxied = *connection.proxied;
    std::string& begun = proxied.begun;
    begun.append(buffer_.data(), count);
    const auto header = codec::read_proxy_header(begun);
    if (header.status == codec::ProxyHeader::Status::need_more) { return {}; }
    if (header.status == codec::ProxyHeader::Status::malformed) {
        drop(id, connection);
        return {};
    }
    proxied.expected = false;
    proxied.address = header.address;
    // What was held back is less than a header, so with what came now it may exceed the buffer by that.
    const std::size_t left = begun.size() - header.consumed;
    if (buffer_.size() < left) { buffer_.resize(left); }
    std::copy(begun.begin() + static_cast<std::ptrdiff_t>(header.consumed), begun.end(), buffer_.begin());
    begun = {};
    return {buffer_.data(), left};
}

void Transport::expect_proxy_header(ConnectionId id) {
    if (Connection* connection = find(id)) { connection->proxied = std::make_unique<Connection::Proxied>(); }
}

void Transport::arm(ConnectionId id, Connection& connection) {
    if (!connection.used) { return; }
    const std::uint32_t wanted =
        EPOLLRDHUP | (connection.held ? 0U : std::uint32_t{EPOLLIN}) | (connection.blocked ? std::uint32_t{EPOLLOUT} : 0U);
    if (wanted == connection.armed) { return; }
    epoll_event event{};
    event.events = connection.armed = wanted;
    event.data.u64 = pack(id);
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.descriptor, &event);
}

void Transport::hold(ConnectionId id, bool held) {
    Connection* connection = find(id);
    if (connection == nullptr || connection->held == held) { return; }
    connection->held = held;
    // Whoever waits for a moment within one turn costs no system call.
    rearming_.push_back(id);
}

void Transport::rearm() {
    for (const ConnectionId id : rearming_) {
        if (Connection* connection = find(id)) { arm(id, *connection); }
    }
    rearming_.clear();
}

std::string Transport::peer_address(ConnectionId id) const {
    const Connection* connection = find(id);
    if (connection == nullptr) { return {}; }
    if (connection->proxied && !connection->proxied->address.empty()) { return connection->proxied->address; }
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(connection->descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) { return {}; }
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET6) {
        ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(address).sin6_addr, text, sizeof text);
    } else {
        ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(address).sin_addr, text, sizeof text);
    }
    return text;
}

}  // namespace starling::net

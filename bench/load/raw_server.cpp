#include "load/raw_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "codec/websocket.h"
#include "load/wire.h"

namespace starling::bench {

namespace {

struct Peer {
    enum class Kind : std::uint8_t { closed, fresh, listener, publisher } kind = Kind::closed;
    std::uint32_t room = 0, place = 0;
};

class RawServer {
 public:
    explicit RawServer(Writing writing) : writing_(writing), buffer_(1 << 20) {}

    [[noreturn]] void run() {
        epoll_ = ::epoll_create1(0);
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 4096) != 0) { std::abort(); }
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        fmt::print("public http://127.0.0.1:{}\n", ntohs(address.sin_port));
        std::fflush(stdout);
        watch(listener_);
        while (true) {
            epoll_event events[512];
            const int count = ::epoll_wait(epoll_, events, 512, -1);
            for (int i = 0; i < count; ++i) {
                if (events[i].data.fd == listener_) {
                    accept_all();
                } else {
                    on_readable(events[i].data.fd);
                }
            }
            flush();
        }
    }

 private:
    void watch(int descriptor) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = descriptor;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
    }

    void accept_all() {
        for (int i = 0; i < 256; ++i) {
            const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
            if (descriptor < 0) { return; }
            const int on = 1;
            ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (peers_.size() <= static_cast<std::size_t>(descriptor)) { peers_.resize(descriptor + 1); }
            peers_[descriptor] = {Peer::Kind::fresh, 0, 0};
            watch(descriptor);
        }
    }

    void close(int descriptor) {
        Peer& peer = peers_[descriptor];
        if (peer.kind == Peer::Kind::listener) {
            auto& room = rooms_[peer.room];
            room[peer.place] = room.back();
            peers_[room[peer.place]].place = peer.place;
            room.pop_back();
        }
        peer.kind = Peer::Kind::closed;
        ::close(descriptor);
    }

    void on_readable(int descriptor) {
        char* begin = buffer_.data();
        std::size_t size = 0;
        if (const auto rest = rests_.find(descriptor); rest != rests_.end()) {
            size = rest->second.copy(begin, rest->second.size());
            rests_.erase(rest);
        }
        const ssize_t count = ::recv(descriptor, begin + size, buffer_.size() - size, 0);
        if (count <= 0) {
            if (count == 0) { close(descriptor); }
            return;
        }
        Peer& peer = peers_[descriptor];
        if (peer.kind == Peer::Kind::fresh) {
            upgrade(descriptor, peer, {begin, static_cast<std::size_t>(count)});
            return;
        }
        on_frames(descriptor, peer, begin, size + static_cast<std::size_t>(count));
    }

    void upgrade(int descriptor, Peer& peer, std::string_view request) {
        const bool publisher = request.starts_with("GET /p/");
        peer.kind = publisher ? Peer::Kind::publisher : Peer::Kind::listener;
        if (!publisher) {
            peer.room = static_cast<std::uint32_t>(std::strtoul(request.data() + 7, nullptr, 10));
            if (rooms_.size() <= peer.room) {
                rooms_.resize(peer.room + 1);
                pending_.resize(peer.room + 1);
            }
            peer.place = static_cast<std::uint32_t>(rooms_[peer.room].size());
            rooms_[peer.room].push_back(descriptor);
        }
        static const std::string kAnswer = fmt::format(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            kUpgradeAccept);
        ::send(descriptor, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
    }

    void on_frames(int descriptor, Peer& peer, char* bytes, std::size_t size) {
        while (size >= 6) {
            std::size_t payload = static_cast<std::uint8_t>(bytes[1]) & 0x7F;
            std::size_t header = 6;
            if (payload == 126) {
                payload = static_cast<std::size_t>(static_cast<std::uint8_t>(bytes[2])) << 8 | static_cast<std::uint8_t>(bytes[3]);
                header = 8;
            }
            if (size < header + payload) { break; }
            if ((bytes[0] & 0x0F) == 8) {
                ::send(descriptor, "\x88\x00", 2, MSG_NOSIGNAL);
                close(descriptor);
                return;
            }
            if (peer.kind == Peer::Kind::publisher) {
                char* text = bytes + header;
                for (std::size_t i = 0; i < payload; ++i) { text[i] ^= text[static_cast<std::ptrdiff_t>(i % 4) - 4]; }
                publish({text, payload});
            } else {
                ::send(descriptor, "\x81\x02{}", 4, MSG_NOSIGNAL);
            }
            bytes += header + payload;
            size -= header + payload;
        }
        if (size > 0) { rests_[descriptor].assign(bytes, size); }
    }

    void publish(std::string_view text) {
        const auto stamp = find_stamp(text);
        if (!stamp || stamp->room >= rooms_.size()) { return; }
        std::string frame = codec::websocket::encode_frame(codec::websocket::Opcode::text, text);
        if (writing_ == Writing::send) {
            for (const int listener : rooms_[stamp->room]) { ::send(listener, frame.data(), frame.size(), MSG_NOSIGNAL); }
            return;
        }
        if (pending_[stamp->room].empty()) { touched_.push_back(stamp->room); }
        pending_[stamp->room].push_back(std::move(frame));
    }

    void flush() {
        for (const std::uint32_t room : touched_) {
            std::vector<iovec> parts;
            for (std::string& frame : pending_[room]) { parts.push_back({frame.data(), frame.size()}); }
            for (const int listener : rooms_[room]) {
                [[maybe_unused]] const auto written = ::writev(listener, parts.data(), static_cast<int>(parts.size()));
            }
            pending_[room].clear();
        }
        touched_.clear();
    }

    Writing writing_;
    int epoll_ = -1, listener_ = -1;
    std::vector<char> buffer_;
    std::unordered_map<int, std::string> rests_;    // The beginning of a frame.
    std::vector<Peer> peers_;                // By descriptor.
    std::vector<std::vector<int>> rooms_;
    std::vector<std::vector<std::string>> pending_;
    std::vector<std::uint32_t> touched_;
};

}  // namespace

void serve_raw(Writing writing) { RawServer(writing).run(); }

}  // namespace starling::bench

#include "load/worker.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "load/wire.h"

namespace starling::bench {

namespace {

struct Client {
    enum class State : std::uint8_t { unused, upgrading, subscribing, ready, closing } state = State::unused;
    bool asked = false;                      // For the upgrade.
    int descriptor = -1;
    std::uint32_t index = 0;
    std::uint32_t missing = 0;               // Subscriptions that are not confirmed.
    std::uint64_t sequence = 0;              // The last one seen.
    std::unique_ptr<std::string> rest;       // The beginning of a frame.
};

class Clients {
 public:
    Clients(const Options& options, const Dialect& dialect, const Share& share, Board& board, ClientPart& part)
        : options_(options), dialect_(dialect), many_(dialect.many_in_a_frame()), share_(share), board_(board), part_(part), churn_(options.mode == Mode::churn),
          epoll_(::epoll_create1(0)), buffer_(1 << 18) {
        clients_.resize(churn_ ? share.in_flight : share.count);
    }

    void run() {
        std::vector<epoll_event> events(1024);
        open_more();
        while (true) {
            if (churn_ ? done_ == share_.count : board_.phase.load(std::memory_order_relaxed) == Phase::stop) { return; }
            const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 20);
            for (int i = 0; i < count; ++i) { on_event(clients_[events[i].data.u32]); }
            open_more();
        }
    }

 private:
    void open_more() {
        if (churn_ && board_.phase.load(std::memory_order_relaxed) == Phase::connect) { return; }
        while (pending_ < share_.in_flight && opened_ < share_.count) {
            std::uint32_t slot = opened_;
            if (churn_) {
                slot = 0;
                while (clients_[slot].state != Client::State::unused) { ++slot; }
            }
            Client& client = clients_[slot];
            client = Client{};
            client.index = share_.first + opened_++;
            client.descriptor = open_socket(share_.ports[node_of(client)], client.index);
            if (client.descriptor < 0) {
                give_up();
                continue;
            }
            ++pending_;
            client.state = Client::State::upgrading;
            epoll_event event{};
            event.events = EPOLLIN | EPOLLOUT | EPOLLET;
            event.data.u32 = slot;
            ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.descriptor, &event);
        }
    }

    void give_up() {
        ++part_.failed;
        ++done_;
    }

    std::uint32_t room_of(const Client& client) const { return client.index % options_.rooms; }

    // Not by the index alone: with an even number of rooms each would be whole on one node.
    std::size_t node_of(const Client& client) const { return client.index / options_.rooms % share_.ports.size(); }

    void say(Client& client, std::string_view bytes) { ::send(client.descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

    void on_event(Client& client) {
        if (client.state == Client::State::unused) { return; }
        if (client.state == Client::State::upgrading && !client.asked) {
            int error = 0;
            socklen_t size = sizeof error;
            ::getsockopt(client.descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error != 0) { return end(client, false); }
            client.asked = true;
            say(client, dialect_.upgrade(room_of(client)));
        }
        while (true) {
            const ssize_t count = ::recv(client.descriptor, buffer_.data(), buffer_.size(), 0);
            if (count < 0) { return; }
            if (count == 0) { return end(client, client.state == Client::State::closing); }
            std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
            if (client.rest) {
                client.rest->append(bytes);
                const auto whole = std::move(client.rest);
                on_bytes(client, *whole);
            } else {
                on_bytes(client, bytes);
            }
            if (client.state == Client::State::unused) { return; }
            // The socket is asked again only where the buffer was full: edges tell the rest. An end that came
            // with the last bytes has no edge of its own.
            if (client.state == Client::State::ready && static_cast<std::size_t>(count) < buffer_.size()) { return; }
        }
    }

    void on_bytes(Client& client, std::string_view bytes) {
        if (client.state == Client::State::upgrading) {
            const std::size_t end_of_head = bytes.find("\r\n\r\n");
            if (end_of_head == std::string_view::npos) {
                client.rest = std::make_unique<std::string>(bytes);
                return;
            }
            if (!bytes.starts_with("HTTP/1.1 101")) { return end(client, false); }
            bytes.remove_prefix(end_of_head + 4);
            on_upgraded(client);
        }
        while (client.state != Client::State::unused) {
            const auto frame = next_frame(bytes);
            if (!frame) { break; }
            on_frame(client, *frame);
            bytes.remove_prefix(frame->size);
        }
        if (!bytes.empty() && client.state != Client::State::unused) { client.rest = std::make_unique<std::string>(bytes); }
    }

    void on_upgraded(Client& client) {
        client.state = Client::State::subscribing;
        client.missing = dialect_.subscriptions();
        if (client.missing == 0) { return on_ready(client); }
        const std::string hello = dialect_.hello(client.index, room_of(client));
        if (!hello.empty()) { say(client, hello); }
    }

    void on_frame(Client& client, const ServerFrame& frame) {
        if (frame.opcode == 9) { return say(client, std::string_view("\x8a\x80\x00\x00\x00\x00", 6)); }
        if (frame.opcode != 1 && frame.opcode != 2) { return; }
        if (client.state != Client::State::ready) { return on_words(client, frame.payload); }
        std::string_view payload = frame.payload;
        auto stamp = find_stamp(payload);
        if (!stamp) { return on_words(client, payload); }
        on_message(client, *stamp);
        while (many_) {
            payload.remove_prefix(payload.find("\"b\":\"") + 45);
            stamp = find_stamp(payload);
            if (!stamp) { return; }
            on_message(client, *stamp);
        }
    }

    void on_words(Client& client, std::string_view payload) {
        const Dialect::Heard heard = dialect_.hear(payload, room_of(client));
        if (!heard.answer.empty()) { say(client, heard.answer); }
        if (client.state != Client::State::subscribing) { return; }
        if (heard.refused) { return end(client, false); }
        client.missing -= std::min(client.missing, heard.confirmed);
        if (client.missing == 0) { on_ready(client); }
    }

    void on_message(Client& client, const Stamp& stamp) {
        const std::uint64_t now = monotonic_ns();
        (node_of(client) == 0 ? part_.latency : part_.latency_elsewhere).add(now - stamp.sent_ns);
        part_.received.fetch_add(1, std::memory_order_relaxed);
        if (stamp.sequence <= client.sequence) {
            ++part_.repeated;
            return;
        }
        part_.lost += stamp.sequence - client.sequence - 1;
        client.sequence = stamp.sequence;
    }

    void on_ready(Client& client) {
        if (churn_) {
            client.state = Client::State::closing;
            say(client, masked_close());
            return;
        }
        client.state = Client::State::ready;
        --pending_;
        ++part_.ready;
    }

    void end(Client& client, bool well) {
        if (client.state != Client::State::ready) { --pending_; }
        ::close(client.descriptor);
        client.state = Client::State::unused;
        if (well) {
            ++part_.ready;
            ++done_;
        } else {
            give_up();
        }
    }

    const Options& options_;
    const Dialect& dialect_;
    bool many_;
    const Share& share_;
    Board& board_;
    ClientPart& part_;
    bool churn_;
    int epoll_;
    std::vector<char> buffer_;
    std::vector<Client> clients_;
    std::uint32_t opened_ = 0, pending_ = 0, done_ = 0;
};

}  // namespace

void run_clients(const Options& options, const Dialect& dialect, const Share& share, Board& board, ClientPart& part) {
    Clients(options, dialect, share, board, part).run();
}

}  // namespace starling::bench

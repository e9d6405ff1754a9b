#include "load/cluster_clients.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace starling::bench {

namespace {

constexpr std::uint32_t kPatienceMs = 15'000;            // For one connection to be made.
constexpr std::uint32_t kPauseMaxMs = 4'000;

}  // namespace

ClusterClients::ClusterClients(const ClusterOptions& options, const ClusterShare& share, ClusterBoard& board)
    : options_(options), share_(share), board_(board), part_(board.parts[share.process]), epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(1 << 18), clients_(share.count), random_(0x9e3779b97f4a7c15 * (share.process + 1)),
      sequences_(share.count / kRoomSize) {}

std::uint32_t ClusterClients::random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<std::uint32_t>(random_ >> 32);
}

void ClusterClients::run() {
    std::vector<epoll_event> events(1024);
    while (true) {
        const bool busy = step_ == Step::publish || !due_.empty();
        const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), busy ? 1 : 10);
        now_ms_ = static_cast<std::uint32_t>(monotonic_ns() / 1'000'000);
        for (int i = 0; i < count; ++i) { on_event(events[i].data.u32, events[i].events); }
        obey();
        if (step_ == Step::stop) { return; }
        open_due();
        sweep();
        if (step_ == Step::joins || step_ == Step::typing) { drive_probes(); }
        if (step_ == Step::publish) { publish_due(); }
        if (part_.done.load(std::memory_order_relaxed) != order_ && over()) {
            step_ = Step::idle;
            part_.done.store(order_, std::memory_order_release);
        }
    }
}

void ClusterClients::obey() {
    const std::uint32_t order = board_.order.load(std::memory_order_acquire);
    if (order == order_) { return; }
    order_ = order;
    step_ = board_.step.load(std::memory_order_relaxed);
    began_ns_ = monotonic_ns();
    switch (step_) {
        case Step::connect:
            for (std::uint32_t i = 0; i < share_.count; ++i) { due_.push({now_ms_, i}); }
            break;
        case Step::audit: return audit();
        case Step::joins:
        case Step::typing: return begin_probes();
        case Step::publish:
            to_publish_ = static_cast<std::uint64_t>(options_.rate * options_.seconds * share_.count / options_.connections);
            said_ = 0;
            return;
        case Step::all:
            if (share_.process == 0) { publish_to_all(); }
            return;
        case Step::storm: return cut_all();
        case Step::idle:
        case Step::stop: break;
    }
}

// The parent waits for the connections themselves, by the count of those that are open.
bool ClusterClients::over() const {
    if (step_ == Step::joins || step_ == Step::typing) {
        return probes_left_ == 0 && std::ranges::all_of(probes_, [](const Probe& probe) { return probe.stage == Probe::Stage::idle; });
    }
    return step_ != Step::publish || said_ == to_publish_;
}

void ClusterClients::open_due() {
    while (pending_ < share_.in_flight && !due_.empty() && due_.top().at_ms <= now_ms_) {
        const std::uint32_t slot = due_.top().slot;
        due_.pop();
        open(slot);
    }
}

void ClusterClients::open(std::uint32_t slot) {
    Client& client = clients_[slot];
    const std::uint32_t nodes = board_.nodes.load(std::memory_order_relaxed);
    if (client.place.since_ms == 0) { client.node = static_cast<std::uint8_t>(options_.apart ? share_.process : (share_.first + slot) % nodes); }
    ++part_.attempts;
    client.began_ms = now_ms_;
    client.descriptor = open_socket(board_.ports[client.node].load(std::memory_order_relaxed), share_.first + slot);
    client.state = State::connecting;
    ++pending_;
    if (client.descriptor < 0) { return end(slot, false, 1000); }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u32 = slot;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.descriptor, &event);
}

void ClusterClients::sweep() {
    if (now_ms_ - swept_ms_ < 1000 || pending_ == 0) { return; }
    swept_ms_ = now_ms_;
    for (std::uint32_t i = 0; i < share_.count; ++i) {
        if (pending(clients_[i]) && now_ms_ - clients_[i].began_ms > kPatienceMs) { end(i, false, 1000); }
    }
}

// Closes it and comes back after a pause; one whose node failed it goes to another one.
void ClusterClients::end(std::uint32_t slot, bool by_us, std::uint32_t pause_ms) {
    Client& client = clients_[slot];
    const bool was_open = client.state == State::ready;
    if (client.descriptor >= 0) { ::close(client.descriptor); }
    client.descriptor = -1;
    if (pending(client)) { --pending_; }
    client.state = State::away;
    client.rest.reset();
    client.view = client.typing = 0;
    // One who came back without hearing so is away since the first time: the leave of then may still be told.
    if (client.place.confirmed || client.place.since_ms == 0) { client.place.since_ms = now_ms_; }
    client.place.present = client.place.confirmed = client.place.farewell = false;
    if (was_open) { part_.open.fetch_sub(1, std::memory_order_relaxed); }
    if (!by_us) {
        ++(was_open ? part_.cut : part_.failures);
        const std::uint32_t nodes = board_.nodes.load(std::memory_order_relaxed);
        if (!options_.apart && nodes > 1) { client.node = static_cast<std::uint8_t>((client.node + 1 + random() % (nodes - 1)) % nodes); }
        const std::uint32_t longest = std::min(pause_ms << std::min<std::uint8_t>(client.tries, 4), kPauseMaxMs);
        ++client.tries;
        pause_ms = random() % (longest + 1);
    }
    due_.push({now_ms_ + pause_ms, slot});
}

void ClusterClients::say(const Client& client, std::string_view bytes) {
    ::send(client.descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void ClusterClients::on_event(std::uint32_t slot, std::uint32_t what) {
    Client& client = clients_[slot];
    const auto pause_ms = static_cast<std::uint32_t>(options_.kill_backoff * 1000);
    if (client.state == State::away) { return; }
    if (client.state == State::connecting) {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(client.descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) { return end(slot, false, 200); }
        client.state = State::upgrading;
        static const std::string request = upgrade_request("/v1/ws");
        say(client, request);
        if ((what & EPOLLIN) == 0) { return; }
    }
    while (true) {
        const ssize_t count = ::recv(client.descriptor, buffer_.data(), buffer_.size(), 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
        if (count <= 0) { return end(slot, false, pause_ms); }
        std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
        if (client.rest) {
            client.rest->append(bytes);
            const auto whole = std::move(client.rest);
            on_bytes(slot, *whole);
        } else {
            on_bytes(slot, bytes);
        }
        if (client.state == State::away) { return; }
        // What is left tells itself by an edge; only an end that came with these bytes would not.
        if (static_cast<std::size_t>(count) < buffer_.size() && (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) { return; }
    }
}

void ClusterClients::on_bytes(std::uint32_t slot, std::string_view bytes) {
    Client& client = clients_[slot];
    if (client.state == State::upgrading) {
        const std::size_t end_of_head = bytes.find("\r\n\r\n");
        if (end_of_head == std::string_view::npos) {
            client.rest = std::make_unique<std::string>(bytes);
            return;
        }
        if (!bytes.starts_with("HTTP/1.1 101")) { return end(slot, false, 1000); }
        bytes.remove_prefix(end_of_head + 4);
        introduce(slot);
    }
    while (client.state != State::away) {
        const auto frame = next_frame(bytes);
        if (!frame) { break; }
        if (frame->opcode == 9) { say(client, std::string_view("\x8a\x80\x00\x00\x00\x00", 6)); }
        if (frame->opcode == 1) { on_text(slot, frame->payload); }
        bytes.remove_prefix(frame->size);
    }
    if (!bytes.empty() && client.state != State::away) { client.rest = std::make_unique<std::string>(bytes); }
}

std::string ClusterClients::subscription(std::uint32_t slot) const {
    const auto& kept = clients_[slot].kept;
    std::string recover;
    if (kept && !kept->epoch.empty()) {
        recover = fmt::format(R"(,"recover":{{"epoch":"{}","offset":{},"id":"{}"}})", kept->epoch, kept->offset, kept->id);
    }
    return masked_frame(fmt::format(R"({{"type":"subscribe","id":1,"channel":"room-{}",{}{}}})", room_of(slot),
                                    options_.presence ? R"("presence":true)" : R"("watch":"none")", recover));
}

void ClusterClients::introduce(std::uint32_t slot) {
    Client& client = clients_[slot];
    client.state = State::subscribing;
    client.waiting = options_.all_channel ? 2 : 1;
    std::string connect = connect_frame(share_.first + slot);
    if (client.kept && !client.kept->resume.empty()) {
        connect.back() = ',';
        connect += fmt::format(R"("resume":"{}"}})", client.kept->resume);
    }
    std::string out = masked_frame(connect) + subscription(slot);
    if (options_.all_channel) { out += masked_frame(R"({"type":"subscribe","id":2,"channel":"all","watch":"none"})"); }
    client.place.present = true;
    say(client, out);
}

void ClusterClients::audit() {
    std::uint64_t wrong = 0, missing = 0, extra = 0;
    for (std::uint32_t first = 0; options_.presence && first < share_.count; first += kRoomSize) {
        unsigned truth = 0;
        for (unsigned bit = 0; bit < kRoomSize; ++bit) { truth |= (clients_[first + bit].place.present ? 1U : 0U) << bit; }
        for (unsigned bit = 0; bit < kRoomSize; ++bit) {
            const Client& client = clients_[first + bit];
            if (client.state != State::ready) { continue; }
            wrong += client.view != truth ? 1 : 0;
            missing += static_cast<unsigned>(std::popcount(truth & ~client.view));
            extra += static_cast<unsigned>(std::popcount(client.view & ~truth));
        }
    }
    part_.wrong_views = wrong;
    part_.missing = missing;
    part_.extra = extra;
}

void ClusterClients::cut_all() {
    const auto spread = static_cast<std::uint32_t>(options_.storm_seconds * 1000);
    const std::uint32_t nodes = board_.nodes.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < share_.count; ++i) {
        if (clients_[i].state == State::away) { continue; }
        end(i, true, random() % (spread + 1));
        // A balancer does not know where they were.
        if (!options_.apart) { clients_[i].node = static_cast<std::uint8_t>(random() % nodes); }
    }
}

void run_cluster_clients(const ClusterOptions& options, const ClusterShare& share, ClusterBoard& board) {
    ClusterClients(options, share, board).run();
}

}  // namespace starling::bench

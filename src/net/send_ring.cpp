#include "net/send_ring.h"

#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace starling::net {

struct SendRing::Ring {
    io_uring uring{};
    bool open = false;

    ~Ring() {
        if (open) { ::io_uring_queue_exit(&uring); }
    }
};

std::unique_ptr<SendRing> SendRing::open() {
    auto ring = std::make_unique<Ring>();
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL;
    if (::io_uring_queue_init_params(kBatch, &ring->uring, &params) != 0) { return nullptr; }
    ring->open = true;
    if ((params.features & IORING_FEAT_CQE_SKIP) == 0) { return nullptr; }
    ::io_uring_register_ring_fd(&ring->uring);   // Saves a lookup a call; without it all works as well.
    auto made = std::unique_ptr<SendRing>(new SendRing(std::move(ring)));
    return made->tells_the_truth() ? std::move(made) : nullptr;
}

SendRing::SendRing(std::unique_ptr<Ring> ring) : ring_(std::move(ring)) { outcomes_.reserve(kBatch); }
SendRing::~SendRing() = default;

void SendRing::add(int descriptor, std::string_view bytes) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_->uring);
    // WAITALL makes a send in part a failure, which is told though success is not; DONTWAIT makes it end there,
    // where it would wait for room and go on behind our back.
    ::io_uring_prep_send(entry, descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry->user_data = count_++;
}

std::span<const SendRing::Outcome> SendRing::submit(std::uint32_t& taken) {
    outcomes_.clear();
    taken = 0;
    while (taken < count_) {
        const int submitted = ::io_uring_submit(&ring_->uring);
        if (submitted == -EINTR) { continue; }
        if (submitted <= 0) { break; }
        taken += static_cast<std::uint32_t>(submitted);
    }
    count_ = 0;
    io_uring_cqe* done = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_->uring, head, done) {
        outcomes_.push_back({static_cast<std::uint32_t>(done->user_data), done->res});
        ++seen;
    }
    ::io_uring_cq_advance(&ring_->uring, seen);
    return outcomes_;
}

// A success that is no such thing would lose bytes in silence, so the kernel shows once what it does.
bool SendRing::tells_the_truth() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) { return false; }
    const std::string large(4 << 20, 'x');
    std::uint32_t taken = 0;
    const auto send = [&](std::string_view bytes) {
        add(ends[0], bytes);
        const auto outcomes = submit(taken);
        return taken != 1 ? -EIO : outcomes.empty() ? static_cast<int>(bytes.size()) : outcomes.front().result;
    };
    const bool whole = send("whole") == 5 && outcomes_.empty();
    const int part = send(large);
    const bool in_part = part > 0 && static_cast<std::size_t>(part) < large.size();
    const bool full = send("full") == -EAGAIN;
    std::size_t arrived = 0;
    std::string buffer(1 << 16, '\0');
    for (ssize_t count = 0; (count = ::recv(ends[1], buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;) {
        arrived += static_cast<std::size_t>(count);
    }
    ::close(ends[1]);
    const bool gone = send("gone") == -EPIPE;
    ::close(ends[0]);
    return whole && in_part && full && gone && arrived == 5 + static_cast<std::size_t>(part);
}

}  // namespace starling::net

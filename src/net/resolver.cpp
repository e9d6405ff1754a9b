#include "net/resolver.h"

#include <netdb.h>
#include <poll.h>

#include <cstring>
#include <thread>

#include "net/mailbox.h"

namespace starling::net {

// Lives as long as the thread or its owner, whichever is longer.
struct Resolver::Shared {
    struct Question {
        std::uint64_t ticket = 0;
        std::string host;
        std::uint16_t port = 0;
        bool last = false;                   // Nobody asks any more.
    };

    Mailbox<Question> questions;
    Mailbox<Resolved> answers;

    void run() {
        while (true) {
            pollfd waiting{questions.event(), POLLIN, 0};
            ::poll(&waiting, 1, -1);
            std::uint64_t drained = 0;
            [[maybe_unused]] const auto size = ::read(questions.event(), &drained, sizeof drained);
            std::vector<Question> asked;
            questions.drain(asked);
            for (const Question& question : asked) {
                if (question.last) { return; }
                answers.send({question.ticket, look_up(question.host, question.port, Lookup::names)});
            }
        }
    }
};

std::vector<SocketAddress> look_up(const std::string& host, std::uint16_t port, Lookup lookup) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICSERV | (lookup == Lookup::numbers_only ? AI_NUMERICHOST : AI_ADDRCONFIG);
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    std::vector<SocketAddress> addresses;
    if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) { return addresses; }
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        SocketAddress& address = addresses.emplace_back();
        std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
        address.size = one->ai_addrlen;
    }
    ::freeaddrinfo(found);
    return addresses;
}

Resolver::Resolver() : shared_(std::make_shared<Shared>()) {
    std::thread([shared = shared_] { shared->run(); }).detach();
}

Resolver::~Resolver() { shared_->questions.send({.last = true}); }

void Resolver::ask(std::uint64_t ticket, std::string host, std::uint16_t port) {
    shared_->questions.send({.ticket = ticket, .host = std::move(host), .port = port});
}

int Resolver::event() const { return shared_->answers.event(); }

void Resolver::drain(std::vector<Resolved>& out) { shared_->answers.drain(out); }

}  // namespace starling::net

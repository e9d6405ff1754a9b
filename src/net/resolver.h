#pragma once
// Names to addresses, on a thread of its own: the system's look-up blocks, perhaps for many seconds.

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace starling::net {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

// All addresses of a host, in the system's order; none if it is unknown. `numbers_only` never blocks.
enum class Lookup : std::uint8_t { numbers_only, names };
std::vector<SocketAddress> look_up(const std::string& host, std::uint16_t port, Lookup lookup);

struct Resolved {
    std::uint64_t ticket = 0;
    std::vector<SocketAddress> addresses;
};

class Resolver {
 public:
    Resolver();
    ~Resolver();                             // Does not wait for a look-up that is under way.
    Resolver(const Resolver&) = delete;
    void ask(std::uint64_t ticket, std::string host, std::uint16_t port);
    int event() const;                       // Readable when there are answers.
    void drain(std::vector<Resolved>& out);

 private:
    struct Shared;
    std::shared_ptr<Shared> shared_;
};

}  // namespace starling::net

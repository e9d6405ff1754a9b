#pragma once
// How the clients speak to one kind of server: the upgrade, joining a room, the frame that confirms it, publishing.
// What a server says beside messages is rare, so only that goes through a virtual call; a message is known by its stamp.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "load/options.h"

namespace starling::bench {

class Dialect {
 public:
    struct Heard {
        std::uint32_t confirmed = 0;         // Subscriptions.
        bool refused = false;
        std::string answer;                  // Bytes to send back; mostly none.
    };
    struct Step { std::string say; std::string_view wait_for; };

    virtual ~Dialect() = default;
    virtual std::string upgrade(std::uint32_t room) const = 0;
    // After the upgrade. The client is ready when `subscriptions()` of them are confirmed; none: at once.
    virtual std::string hello(std::uint32_t user, std::uint32_t room) const = 0;
    virtual std::uint32_t subscriptions() const { return 1; }
    virtual Heard hear(std::string_view payload, std::uint32_t room) const = 0;
    virtual bool many_in_a_frame() const { return false; }     // Messages.
    virtual std::vector<Step> publisher_steps(std::uint32_t user) const = 0;
    virtual std::string publish(std::uint32_t room, std::string_view data) const = 0;
};

// Of "raw", "raw-writev", "peer:NAME", or a gateway; null: no such peer. `options` outlives it.
std::unique_ptr<Dialect> dialect_of(std::string_view target, const Options& options);

}  // namespace starling::bench

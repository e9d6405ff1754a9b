#pragma once
// A real redis-server of its own for a test, on a socket file in a temporary folder.

#include <memory>
#include <string>
#include <string_view>

#include "redis_reply.h"

namespace starling::sim {

class RealRedis {
 public:
    // Null where there is no redis-server on this machine.
    static std::unique_ptr<RealRedis> start();
    ~RealRedis();

    // One command, one reply.
    Reply call(const Words& words);

 private:
    RealRedis() = default;

    std::string folder_;
    int process_ = -1, socket_ = -1;
    std::string buffer_;                     // Bytes of a reply that is not complete.
};

// Reads replies out of bytes that are there as a whole.
Reply parse_reply(std::string_view& bytes);

// The reply with elements in one order where Redis promises none.
Reply canonical(std::string_view command, Reply reply);

std::string show(const Words& words);
std::string show(const Reply& reply);

}  // namespace starling::sim

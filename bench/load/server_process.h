#pragma once
// Servers that the load tool starts beside those it measures, and the Redis that several of them share.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace starling::bench {

// A process that dies with this one; `out` is the reading end of its stdout, or -1.
struct ServerProcess {
    pid_t id = -1;
    int out = -1;
};
ServerProcess spawn(std::vector<std::string> words, bool hear, bool on_last_core = false);
void end_process(pid_t process);             // By SIGKILL; none: nothing.

// What a server answers to `request`, until `enough` is in it or 10 s are over; "" where nobody listens.
std::string ask(std::uint16_t port, std::string_view request, std::string_view enough);

// A gateway's public port: true as soon as it says that it is ready, false after 10 s.
bool becomes_ready(std::uint16_t port);

// A redis-server without persistence, until this object ends.
class RedisServer {
 public:
    explicit RedisServer(bool on_last_core);
    ~RedisServer();
    RedisServer(const RedisServer&) = delete;
    bool well() const { return well_; }      // It answers.
    pid_t process() const { return process_; }
    std::uint16_t port() const { return port_; }
    double cpu() const;                      // In seconds.
    std::uint64_t info(std::string_view name) const;     // A number of INFO.

 private:
    std::uint16_t port_;
    pid_t process_;
    bool well_ = false;
};

}  // namespace starling::bench

#pragma once
// A server under measurement, as a process of its own: the raw one, or a gateway.

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "load/options.h"

namespace starling::bench {

class Target {
 public:
    // Starts it and waits for its port. `failure()` says why there is none.
    Target(const std::string& name, const Options& options);
    ~Target();
    Target(const Target&) = delete;
    std::uint16_t port() const { return port_; }
    pid_t process() const { return process_; }
    bool raw() const { return raw_; }
    const std::string& failure() const { return failure_; }

 private:
    bool raw_ = false;
    pid_t process_ = -1;
    std::uint16_t port_ = 0;
    std::string folder_;
    std::string failure_;
};

inline bool is_raw(const std::string& name) { return name == "raw" || name == "raw-writev"; }
void pin_to(int core);                       // This process, and what it starts; -1: the last core.

}  // namespace starling::bench

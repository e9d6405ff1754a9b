#include "load/kernel.h"

#include <fstream>
#include <sstream>
#include <string>

namespace starling::bench {

std::uint64_t available_bytes() {
    std::ifstream file("/proc/meminfo");
    std::string name, unit;
    std::uint64_t value = 0;
    while (file >> name >> value) {
        if (name == "MemAvailable:") { return value * 1024; }
        std::getline(file, unit);
    }
    return ~std::uint64_t{0};                // Not readable: no reason to stop.
}

KernelDrops kernel_drops() {
    std::ifstream file("/proc/net/netstat");
    std::string names, values;
    KernelDrops drops;
    while (std::getline(file, names) && std::getline(file, values)) {
        std::istringstream name_words(names), value_words(values);
        std::string name, value;
        while (name_words >> name && value_words >> value) {
            if (name == "ListenOverflows") { drops.listen_overflows = std::stoull(value); }
            if (name == "TCPReqQFullDrop" || name == "TCPReqQFullDoCookies") { drops.request_queue_full += std::stoull(value); }
            if (name == "TCPTimeouts") { drops.timeouts = std::stoull(value); }
        }
    }
    return drops;
}

}  // namespace starling::bench

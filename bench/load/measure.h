#pragma once
// What the kernel says of a server's process.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace starling::bench {

// Of the process and all that it started, but not a Redis that a peer brings along.
double cpu_seconds(pid_t process);           // Of all threads, by the scheduler's own clock.
std::uint64_t pss_bytes(pid_t process);      // Proportional memory in user space ...
// ... and of it heap and stacks: the rest is of programs and libraries, and its share moves with every other process.
std::uint64_t anonymous_pss_bytes(pid_t process);
// Bytes of the kernel's objects for sockets, files and epoll, of the whole machine; 0: not readable.
std::uint64_t kernel_socket_bytes();

struct Spread { double lower_quartile = 0, median = 0, least = 0, most = 0; };
Spread spread_of(std::vector<double> values);

}  // namespace starling::bench

#pragma once
// Whose word counts about where a connection comes from: X-Forwarded-For is read from its end, and
// each step back is believed only if a trusted proxy says it. Anybody can write the rest of the line.

#include <string>
#include <string_view>
#include <vector>

namespace starling::server {

// An address, or a network as "10.0.0.0/8".
bool valid_network(std::string_view text);

// Whether `address` is one of `trusted`: then it may also begin a connection with a PROXY header.
bool is_trusted(std::string_view address, const std::vector<std::string>& trusted);

// `peer` itself unless it is trusted; `forwarded` is the header's value, empty where there is none.
std::string client_address(const std::string& peer, std::string_view forwarded, const std::vector<std::string>& trusted);

// What `connections_per_address` counts: an IPv4 address, or the /64 of an IPv6 one, of which one subscriber has 2^64.
// What is no address counts as it is.
std::string counted_network(const std::string& address);

}  // namespace starling::server

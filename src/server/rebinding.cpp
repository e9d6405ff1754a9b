#include "server/rebinding.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string>

namespace starling::server {
namespace {

// "a:1", "[::1]:1" and "a" without their port and brackets.
std::string name_of(std::string_view host) {
    if (host.starts_with('[')) { return std::string(host.substr(1, host.find(']') - 1)); }
    return std::string(host.substr(0, host.find(':')));
}

bool is_address(const std::string& name) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, name.c_str(), bytes) == 1 || inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

bool is_localhost(std::string_view name) {
    static constexpr std::string_view kName = "localhost";
    return std::ranges::equal(name, kName, {}, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
}

}  // namespace

bool is_rebound(std::string_view listener, std::string_view host) {
    const std::string bound = name_of(listener);
    const bool loopback = is_localhost(bound) || bound == "::1" || (bound.starts_with("127.") && is_address(bound));
    const std::string name = name_of(host);
    return loopback && !is_address(name) && !is_localhost(name);
}

}  // namespace starling::server

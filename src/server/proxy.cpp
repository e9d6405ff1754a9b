#include "server/proxy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace starling::server {
namespace {

struct Address {
    std::array<unsigned char, 16> bytes{};
    unsigned bits = 0;                 // 32 or 128.
};

std::optional<Address> parse_address(std::string_view text) {
    const std::string copy(text);
    Address address;
    if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) {
        address.bits = 32;
    } else if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) {
        address.bits = 128;
    } else {
        return std::nullopt;
    }
    return address;
}

struct Network {
    Address address;
    unsigned prefix = 0;
};

std::optional<Network> parse_network(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto address = parse_address(text.substr(0, slash));
    if (!address) { return std::nullopt; }
    Network network{*address, address->bits};
    if (slash == std::string_view::npos) { return network; }
    const std::string_view rest = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), network.prefix);
    if (rest.empty() || error != std::errc() || end != rest.data() + rest.size() || network.prefix > address->bits) { return std::nullopt; }
    return network;
}

bool contains(const Network& network, const Address& address) {
    if (network.address.bits != address.bits) { return false; }
    for (unsigned bit = 0; bit < network.prefix; ++bit) {
        const unsigned mask = 0x80U >> (bit % 8);
        if (((network.address.bytes[bit / 8] ^ address.bytes[bit / 8]) & mask) != 0) { return false; }
    }
    return true;
}

}  // namespace

bool is_trusted(std::string_view text, const std::vector<std::string>& trusted) {
    const auto address = parse_address(text);
    return address && std::ranges::any_of(trusted, [&](const std::string& entry) {
        const auto network = parse_network(entry);
        return network && contains(*network, *address);
    });
}

bool valid_network(std::string_view text) { return parse_network(text).has_value(); }

std::string client_address(const std::string& peer, std::string_view forwarded, const std::vector<std::string>& trusted) {
    std::string address = peer;
    while (!forwarded.empty() && is_trusted(address, trusted)) {
        const std::size_t comma = forwarded.rfind(',');
        std::string_view entry = comma == std::string_view::npos ? forwarded : forwarded.substr(comma + 1);
        forwarded = comma == std::string_view::npos ? std::string_view{} : forwarded.substr(0, comma);
        while (!entry.empty() && (entry.front() == ' ' || entry.front() == '\t')) { entry.remove_prefix(1); }
        while (!entry.empty() && (entry.back() == ' ' || entry.back() == '\t')) { entry.remove_suffix(1); }
        // A trusted proxy that writes what is no address says nothing about the client.
        if (!parse_address(entry)) { break; }
        address = entry;
    }
    return address;
}

std::string counted_network(const std::string& address) {
    const auto parsed = parse_address(address);
    if (!parsed || parsed->bits != 128) { return address; }
    std::array<unsigned char, 16> bytes = parsed->bytes;
    static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN] = "";
    if (std::equal(std::begin(kMapped), std::end(kMapped), bytes.begin())) {
        return inet_ntop(AF_INET, bytes.data() + 12, text, sizeof text);
    }
    std::fill(bytes.begin() + 8, bytes.end(), 0);
    return std::string(inet_ntop(AF_INET6, bytes.data(), text, sizeof text)) + "/64";
}

}  // namespace starling::server

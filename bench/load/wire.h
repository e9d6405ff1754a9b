#pragma once
// The clients' side of the wire: addresses, the upgrade, frames, and the stamp that each message bears.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "load/options.h"

namespace starling::bench {

std::uint64_t monotonic_ns();

// A non-blocking connect from one of many loopback addresses, so that ports do not run out; -1: failed.
int open_socket(std::uint16_t port, std::uint32_t index);

// The key never changes, so the raw server knows the answer without a hash.
inline constexpr std::string_view kUpgradeKey = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr std::string_view kUpgradeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
std::string upgrade_request(std::string_view path);

std::string masked_frame(std::string_view text);         // One text frame.
std::string masked_close();

// One frame of a server at the front of `bytes`; absent: not all of it is there.
struct ServerFrame {
    std::uint8_t opcode = 0;
    std::string_view payload;
    std::size_t size = 0;
};
std::optional<ServerFrame> next_frame(std::string_view bytes);

// Room, number and time of sending, of fixed width somewhere in a message.
struct Stamp {
    std::uint32_t room = 0;
    std::uint64_t sequence = 0;
    std::uint64_t sent_ns = 0;
};
std::string stamp_json(const Stamp& stamp, std::string_view padding);
std::optional<Stamp> find_stamp(std::string_view text);

// The words of the native protocol that a client needs.
inline constexpr std::string_view kTokenSecret = "a secret of the load tool, 32 bytes and more";
std::string connect_frame(std::uint32_t user);
std::string subscribe_frame(std::uint32_t room, bool presence);
std::string publish_frame(std::uint32_t room, std::string_view data);

}  // namespace starling::bench

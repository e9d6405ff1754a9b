#pragma once
// permessage-deflate (RFC 7692) for whole messages: no context is kept between messages, so one
// Deflator and one Inflator serve every connection of a shard, and a broadcast is compressed once.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace starling::codec {

class Deflator {
 public:
    explicit Deflator(int level = 1);  // 1, fast, to 9, small.
    ~Deflator();
    Deflator(Deflator&&) noexcept;
    Deflator& operator=(Deflator&&) noexcept;

    // The payload of an RSV1 frame, or nothing where compression does not make it smaller: send it as it is.
    // What was compressed for n window bits may be sent to every peer with n or more. The view lives
    // until the next call.
    std::optional<std::string_view> deflate(std::string_view message, std::uint8_t window_bits = 15);

 private:
    struct State;
    std::unique_ptr<State> state_;
};

enum class InflateError : std::uint8_t { too_large, malformed };

class Inflator {
 public:
    Inflator();
    ~Inflator();
    Inflator(Inflator&&) noexcept;
    Inflator& operator=(Inflator&&) noexcept;

    // The message behind the joined payloads of its frames. Never holds more than `limit` bytes of it (and
    // one to know that there are more), however far it would blow up. The view lives until the next call; an
    // error leaves nothing behind.
    std::expected<std::string_view, InflateError> inflate(std::string_view payload, std::size_t limit);

 private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace starling::codec

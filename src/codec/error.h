#pragma once
// An error that a peer is told: a code out of wire_codes.def and a sentence that names the field
// and, where a limit was passed, the limit and its value.

#include <cstdint>
#include <string>
#include <string_view>

namespace starling {

enum class ErrorCode : std::uint8_t {
#define STARLING_ERROR(name, status, retryable) name,
#include "codec/wire_codes.def"
#undef STARLING_ERROR
};

struct Error {
    ErrorCode code = ErrorCode::internal;
    std::string message;
};

constexpr std::string_view name(ErrorCode code) {
    switch (code) {
#define STARLING_ERROR(name, status, retryable) \
    case ErrorCode::name: return #name;
#include "codec/wire_codes.def"
#undef STARLING_ERROR
    }
    return "internal";
}

constexpr int http_status(ErrorCode code) {
    switch (code) {
#define STARLING_ERROR(name, status, retryable) \
    case ErrorCode::name: return status;
#include "codec/wire_codes.def"
#undef STARLING_ERROR
    }
    return 500;
}

constexpr bool retryable(ErrorCode code) {
    switch (code) {
#define STARLING_ERROR(name, status, retryable) \
    case ErrorCode::name: return retryable;
#include "codec/wire_codes.def"
#undef STARLING_ERROR
    }
    return true;
}

// Close codes of the native protocol (protocol.md section 3).
namespace close_code {
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t going_away = 1001;
inline constexpr std::uint16_t unsupported_data = 1003;
inline constexpr std::uint16_t no_status = 1005;
inline constexpr std::uint16_t abnormal = 1006;
inline constexpr std::uint16_t too_large = 1009;
inline constexpr std::uint16_t internal = 1011;
inline constexpr std::uint16_t node_going = 1012;
inline constexpr std::uint16_t protocol_error = 4000;
inline constexpr std::uint16_t unauthenticated = 4001;
inline constexpr std::uint16_t token_expired = 4002;
inline constexpr std::uint16_t forbidden = 4003;
inline constexpr std::uint16_t connect_timeout = 4004;
inline constexpr std::uint16_t ended = 4005;
inline constexpr std::uint16_t limit = 4006;
inline constexpr std::uint16_t rate_limited = 4007;
inline constexpr std::uint16_t too_slow = 4008;
inline constexpr std::uint16_t no_pong = 4009;
inline constexpr std::uint16_t engine_away = 4010;
}  // namespace close_code

}  // namespace starling

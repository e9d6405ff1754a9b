// Frames from a hostile peer. The first byte chooses how the reader is set up and how the bytes are cut;
// whatever the cut, the events must be those of the bytes in one piece.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "codec/utf8.h"
#include "codec/websocket.h"

namespace {

using namespace starling::codec;
using namespace starling::codec::websocket;

constexpr ReaderLimits kLimits{.message_bytes = 4096, .fragments = 8};

struct Seen {
    Event::Kind kind;
    std::uint16_t code;
    std::string payload;

    bool operator==(const Seen&) const = default;
};

std::vector<Seen> read(std::string_view bytes, std::size_t step, Compression compression, Role role, Inflator& inflator) {
    websocket::Reader reader(compression, role);
    std::vector<Seen> seen;
    while (!bytes.empty()) {
        std::string piece(bytes.substr(0, step));
        bytes.remove_prefix(piece.size());
        std::span<char> input(piece);
        while (true) {
            const Event event = reader.next(input, kLimits, &inflator);
            CHECK(event.consumed <= input.size());
            input = input.subspan(event.consumed);
            if (event.kind == Event::Kind::none) { break; }
            CHECK(event.payload.size() <= kLimits.message_bytes);
            if (event.kind == Event::Kind::text) { CHECK(valid_utf8(event.payload)); }
            seen.push_back({event.kind, event.code, std::string(event.payload)});
        }
        CHECK(input.empty());
        CHECK(reader.buffered() <= 3 * kLimits.message_bytes + 1024);
    }
    return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) { return 0; }
    static Inflator inflator;
    const auto compression = (data[0] & 1) != 0 ? Compression::deflate : Compression::none;
    const auto role = (data[0] & 2) != 0 ? Role::client : Role::server;
    const std::size_t step = 1 + (data[0] >> 2);
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = read(bytes, std::max<std::size_t>(bytes.size(), 1), compression, role, inflator);
    CHECK(read(bytes, step, compression, role, inflator) == whole);
    return 0;
}

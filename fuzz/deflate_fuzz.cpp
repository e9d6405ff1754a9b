// A hostile compressed message, and then the same bytes as an honest one: what is inflated keeps to its
// limit, and what we compress is read back, for every window.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/deflate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace starling::codec;
    static Inflator inflator;
    static Deflator deflator;
    if (size == 0) { return 0; }
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t limit = std::size_t{1} << (data[0] & 15);
    const auto message = inflator.inflate(bytes, limit);
    if (message) { CHECK(message->size() <= limit); }

    const auto bits = static_cast<std::uint8_t>(8 + (data[0] >> 4) % 8);
    if (const auto payload = deflator.deflate(bytes, bits)) {
        CHECK(payload->size() < bytes.size());
        const auto back = inflator.inflate(*payload, bytes.size());
        CHECK(back.has_value());
        CHECK(*back == bytes);
    }
    return 0;
}

// Replies of Redis: any bytes in any pieces end in values or one error, the same for every way to cut them.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/resp.h"

using namespace starling::codec::resp;

namespace {

void append(std::string& out, const Value& value) {
    out += static_cast<char>('a' + static_cast<int>(value.kind));
    out += std::to_string(value.integer) + ':' + std::to_string(value.text.size()) + ':' + value.text + '[';
    for (const Value& element : value.elements) { append(out, element); }
    out += ']';
}

// All values in one text, and "!" where the reader gave up.
std::string read(std::string_view bytes, std::size_t piece) {
    Reader reader(1 << 16);
    std::string out;
    while (!bytes.empty()) {
        reader.feed(bytes.substr(0, piece));
        bytes.remove_prefix(std::min(piece, bytes.size()));
        while (true) {
            const auto value = reader.next();
            if (!value) { return out + '!'; }
            if (!*value) { break; }
            append(out, **value);
        }
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (size > 1 << 16) { return 0; }
    const std::string whole = read(bytes, size);
    CHECK(read(bytes, 1) == whole);
    CHECK(read(bytes, 7) == whole);
    return 0;
}

// Must fail: it stops at the one input of its corpus. If its test passes without failing, the harness
// feeds nothing.

#include <cstdint>
#include <string_view>

#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    CHECK(std::string_view(reinterpret_cast<const char*>(data), size) != "sing");
    return 0;
}

// What another node says on the control channel. Whatever is accepted must be sayable: encoded again it is the same.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "domain/control.h"

namespace control = starling::domain::control;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view payload(reinterpret_cast<const char*>(data), size);
    const auto decoded = control::decode(payload);
    if (!decoded) { return 0; }
    CHECK(std::visit([](const auto& body) { return control::encode(body); }, *decoded) == payload);
    return 0;
}

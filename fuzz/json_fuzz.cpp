// JSON texts: the scanner and simdjson agree on what is valid, and a slice of a valid text is valid.

#include <cstdint>
#include <simdjson.h>
#include <string>
#include <string_view>

#include "base/check.h"
#include "codec/json.h"

using namespace starling::codec;

namespace {

constexpr std::uint32_t kDepth = 64;

// Where the two may differ: depth near the limit; a number too large for simdjson, which is JSON all the same
// and is told by an exponent or many digits; an escaped lone surrogate, which RFC 8259's grammar allows.
bool comparable(simdjson::error_code code, std::string_view text) {
    if (code == simdjson::DEPTH_ERROR) { return false; }
    if (code == simdjson::STRING_ERROR) { return text.find("\\u") == std::string_view::npos; }
    return code != simdjson::NUMBER_ERROR || (text.size() < 19 && text.find_first_of("eE") == std::string_view::npos);
}

void look_inside(const json::Value& value) {
    CHECK(json::depth(value.raw) <= kDepth && json::parse(value.raw, kDepth));
    if (value.kind == json::Kind::string) {
        if (const auto text = json::unescape(value.raw)) {
            std::string again;
            json::append_string(again, *text);
            CHECK(json::parse(again, 0) && json::unescape(again) == text);
        }
    } else if (value.kind == json::Kind::number) {
        (void)json::integer(value.raw);
    } else if (value.kind == json::Kind::array) {
        const auto list = json::elements(value, 1000);
        for (std::size_t i = 0; list && i < list->size(); ++i) { CHECK(json::parse((*list)[i].raw, kDepth)); }
    } else if (value.kind == json::Kind::object) {
        const auto list = json::fields(value);
        for (std::size_t i = 0; list && i < list->size(); ++i) { CHECK(json::parse((*list)[i].value.raw, kDepth)); }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // The scanner is only ever given what a WebSocket has already found to be UTF-8.
    const bool utf8 = json::valid_utf8(text);
    CHECK(utf8 == simdjson::validate_utf8(text.data(), text.size()));
    if (!utf8) { return 0; }
    const auto value = json::parse(text, kDepth);
    // A byte order mark is no white space in RFC 8259; simdjson steps over it.
    if (!text.starts_with("\xEF\xBB\xBF")) {
        static simdjson::dom::parser oracle;
        const simdjson::error_code code = oracle.parse(simdjson::padded_string(text)).error();
        const bool deep = !value && value.error().find("deeper than") != std::string::npos;
        if (comparable(code, text) && !deep) { CHECK(value.has_value() == (code == simdjson::SUCCESS)); }
    }
    if (value) { look_inside(*value); }
    return 0;
}

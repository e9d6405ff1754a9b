#pragma once
// Writes one JSON object, field by field, in the order of the calls: what both the native frames and
// the backend's answers are made with.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "codec/json.h"

namespace starling::codec::json {

// Appends fields to an object; the first one without a comma.
class Writer {
 public:
    Writer() : out_("{") { out_.reserve(128); }
    explicit Writer(std::string_view type) : Writer() { text("type", type); }

    void key(std::string_view name) {
        if (out_.size() > 1) { out_ += ','; }
        out_ += '"';
        out_ += name;
        out_ += "\":";
    }
    Writer& text(std::string_view name, std::string_view value) {
        key(name);
        json::append_string(out_, value);
        return *this;
    }
    Writer& text_if(std::string_view name, std::string_view value) { return value.empty() ? *this : text(name, value); }
    Writer& number(std::string_view name, auto value) {
        key(name);
        out_ += std::to_string(value);
        return *this;
    }
    Writer& id(std::optional<std::int64_t> value) { return value ? number("id", *value) : *this; }
    Writer& boolean(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
    Writer& raw(std::string_view name, std::string_view value) {
        key(name);
        out_ += value;
        return *this;
    }
    template <typename List, typename Each>
    Writer& list(std::string_view name, const List& values, Each each) {
        key(name);
        out_ += '[';
        bool first = true;
        for (const auto& value : values) {
            if (!first) { out_ += ','; }
            first = false;
            out_ += each(value);
        }
        out_ += ']';
        return *this;
    }
    std::string done() {
        out_ += '}';
        return std::move(out_);
    }

 private:
    std::string out_;
};

}  // namespace starling::codec::json

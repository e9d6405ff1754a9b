#pragma once
// One frame as a client reads it: a JSON object, by the names of its fields.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "codec/message.h"

namespace starling::sim {

class JsonFrame {
 public:
    // Dies on what is not an object: a gateway that sends such a thing is broken.
    explicit JsonFrame(std::string text);
    JsonFrame(const JsonFrame&) = delete;
    JsonFrame& operator=(const JsonFrame&) = delete;
    JsonFrame(JsonFrame&&) = default;        // The text lies on the heap and stays where it is.

    std::string_view whole() const { return *text_; }
    std::string_view type() const { return type_; }
    bool has(std::string_view name) const { return find(name) != nullptr; }
    std::string text(std::string_view name) const;
    std::int64_t number(std::string_view name) const;
    bool truth(std::string_view name) const;
    std::string_view raw(std::string_view name) const;
    std::optional<JsonFrame> object(std::string_view name) const;
    std::vector<JsonFrame> list(std::string_view name) const;
    std::vector<std::string> texts(std::string_view name) const;
    std::optional<Position> position(std::string_view name) const;

 private:
    const codec::json::Value* find(std::string_view name) const;

    std::unique_ptr<std::string> text_;
    std::vector<codec::json::Field> fields_;
    std::string type_;
};

std::string to_json(const Position& position);

}  // namespace starling::sim

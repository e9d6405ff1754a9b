#include "json_frame.h"

#include "base/check.h"
#include "codec/json_writer.h"

namespace starling::sim {

JsonFrame::JsonFrame(std::string text) : text_(std::make_unique<std::string>(std::move(text))) {
    const auto value = codec::json::parse(*text_, 256);
    CHECK(value && value->kind == codec::json::Kind::object);
    auto fields = codec::json::fields(*value);
    CHECK(fields);
    fields_ = std::move(*fields);
    type_ = this->text("type");
}

const codec::json::Value* JsonFrame::find(std::string_view name) const {
    for (const auto& field : fields_) { if (field.key == name) { return &field.value; } }
    return nullptr;
}

std::string JsonFrame::text(std::string_view name) const {
    const auto* value = find(name);
    return value == nullptr || value->kind != codec::json::Kind::string ? "" : codec::json::unescape(value->raw).value_or("");
}

std::int64_t JsonFrame::number(std::string_view name) const {
    const auto* value = find(name);
    return value == nullptr ? 0 : codec::json::integer(value->raw).value_or(0);
}

bool JsonFrame::truth(std::string_view name) const { return raw(name) == "true"; }

std::string_view JsonFrame::raw(std::string_view name) const {
    const auto* value = find(name);
    return value == nullptr ? std::string_view() : value->raw;
}

std::optional<JsonFrame> JsonFrame::object(std::string_view name) const {
    const auto* value = find(name);
    if (value == nullptr || value->kind != codec::json::Kind::object) { return std::nullopt; }
    return JsonFrame(std::string(value->raw));
}

std::vector<JsonFrame> JsonFrame::list(std::string_view name) const {
    std::vector<JsonFrame> out;
    const auto* value = find(name);
    if (value == nullptr || value->kind != codec::json::Kind::array) { return out; }
    const auto elements = codec::json::elements(*value, 1000000);
    for (const auto& element : *elements) { out.emplace_back(std::string(element.raw)); }
    return out;
}

std::vector<std::string> JsonFrame::texts(std::string_view name) const {
    std::vector<std::string> out;
    const auto* value = find(name);
    if (value == nullptr || value->kind != codec::json::Kind::array) { return out; }
    const auto elements = codec::json::elements(*value, 1000000);
    for (const auto& element : *elements) { out.push_back(codec::json::unescape(element.raw).value_or("")); }
    return out;
}

std::optional<Position> JsonFrame::position(std::string_view name) const {
    const auto it = object(name);
    if (!it) { return std::nullopt; }
    return Position{it->text("epoch"), static_cast<std::uint64_t>(it->number("offset")), it->text("id")};
}

std::string to_json(const Position& position) {
    codec::json::Writer out;
    return out.text("epoch", position.epoch).number("offset", position.offset).text("id", position.id).done();
}

}  // namespace starling::sim

#include "engine/wire.h"

#include <charconv>

#include "base/hash.h"

namespace starling::engine {

namespace {

std::optional<std::uint64_t> parse(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) { return std::nullopt; }
    return value;
}

}  // namespace

void append_field(std::string& out, std::string_view bytes) {
    out += std::to_string(bytes.size());
    out += ':';
    out += bytes;
}

void append_field(std::string& out, std::int64_t number) { append_field(out, std::string_view(std::to_string(number))); }

std::string_view FieldReader::text() {
    const std::size_t colon = rest_.substr(0, 12).find(':');
    const auto size = colon == std::string_view::npos ? std::nullopt : parse(rest_.substr(0, colon));
    if (!ok_ || !size || *size > rest_.size() - colon - 1) {
        ok_ = false;
        rest_ = {};
        return {};
    }
    const std::string_view field = rest_.substr(colon + 1, *size);
    rest_.remove_prefix(colon + 1 + *size);
    return field;
}

std::int64_t FieldReader::number() {
    const auto value = parse(text());
    if (!value || *value > INT64_MAX) {
        ok_ = false;
        return 0;
    }
    return static_cast<std::int64_t>(*value);
}

char FieldReader::letter() {
    if (!ok_ || rest_.empty()) {
        ok_ = false;
        return 0;
    }
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
}

std::optional<Record> decode_record(std::string_view text) {
    std::uint64_t numbers[4] = {};
    for (auto& number : numbers) {
        const std::size_t colon = text.find(':');
        const auto value = colon == std::string_view::npos ? std::nullopt : parse(text.substr(0, colon));
        if (!value) { return std::nullopt; }
        number = *value;
        text.remove_prefix(colon + 1);
    }
    Record record{static_cast<std::int64_t>(numbers[1]), numbers[2], {}, numbers[0]};
    if (numbers[3] != 0) { record.data = std::string(text); }
    return record;
}

std::uint64_t member_hash(std::string_view channel, std::string_view user) {
    return hash64(user, hash64(channel, 7)) >> 24;
}

std::optional<Payload> decode_payload(std::string_view text) {
    FieldReader in(text);
    const char type = in.letter();
    if (type == 'P') {
        Delta delta;
        delta.epoch = in.text();
        delta.version = static_cast<std::uint64_t>(in.number());
        delta.before = in.text();
        delta.tag = in.text();
        delta.iid = in.text();
        while (in.ok() && !in.at_end()) {
            Delta::Op op;
            op.kind = in.letter();
            op.user = in.text();
            const auto record = decode_record(in.text());
            const bool known = std::string_view("JLU+-lc").find(op.kind) != std::string_view::npos;
            if (!known && op.kind >= 'a' && op.kind <= 'z') { continue; }   // Of a later version, and not needed.
            if (!known || !record) { return std::nullopt; }
            op.record = *record;
            delta.ops.push_back(std::move(op));
        }
        if (!in.ok() || delta.version == 0) { return std::nullopt; }
        return delta;
    }
    if (type == 'M') {
        Announcement out;
        out.epoch = in.text();
        out.offset = static_cast<std::uint64_t>(in.number());
        out.before = in.text();
        out.message.id = in.text();
        const std::string_view body = in.text();
        out.except = in.text();
        out.message.offset = out.offset;
        if (!in.ok() || !decode_body(body, out.message)) { return std::nullopt; }
        return out;
    }
    if (type == 'T') {
        TypingNote note;
        note.node = in.text();
        note.user = in.text();
        note.active = in.letter() == '1';
        if (!in.ok() || note.user.empty()) { return std::nullopt; }
        return note;
    }
    if (type == 'A') {
        AckNote note{static_cast<std::uint64_t>(in.number()), std::string(in.text())};
        if (!in.ok()) { return std::nullopt; }
        return note;
    }
    if (type == 'X') {
        EraseNote note{std::string(in.text())};
        if (!in.ok()) { return std::nullopt; }
        return note;
    }
    return std::nullopt;
}

std::string encode(const TypingNote& note) {
    std::string out = "T";
    append_field(out, note.node);
    append_field(out, note.user);
    out += note.active ? '1' : '0';
    return out;
}

std::string encode(const Announcement& announcement) {
    std::string out = "M";
    append_field(out, announcement.epoch);
    append_field(out, static_cast<std::int64_t>(announcement.offset));
    append_field(out, announcement.before);
    append_field(out, announcement.message.id);
    append_field(out, encode_body(announcement.message));
    append_field(out, announcement.except);
    return out;
}

std::string encode_body(const Message& message) {
    std::string out;
    out.reserve(message.data.size() + message.user_id.size() + 48);
    append_field(out, message.time);
    append_field(out, message.user_id);
    out += message.event ? '1' : '0';
    append_field(out, message.event.value_or(""));
    out += message.conflate_key ? '1' : '0';
    append_field(out, message.conflate_key.value_or(""));
    append_field(out, message.data);
    return out;
}

bool decode_body(std::string_view body, Message& message) {
    FieldReader in(body);
    message.time = in.number();
    message.user_id = in.text();
    const char event = in.letter();
    const std::string_view event_text = in.text();
    const char conflate = in.letter();
    const std::string_view conflate_text = in.text();
    message.data = in.text();
    if (event == '1') { message.event = std::string(event_text); }
    if (conflate == '1') { message.conflate_key = std::string(conflate_text); }
    return in.ok() && in.at_end();
}

std::string_view node_of(std::string_view iid) { return iid.substr(0, iid.rfind('.')); }

std::int64_t to_number(std::string_view text) {
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::int64_t to_number(const codec::resp::Value& value) {
    return value.kind == codec::resp::Value::Kind::integer ? value.integer : to_number(value.text);
}

}  // namespace starling::engine

// Native frames from the client: the envelope, then one decoder for each `type`.

#include <algorithm>
#include <array>

#include "codec/json.h"
#include "codec/native.h"

namespace starling::codec::native {

namespace {

constexpr std::uint32_t kEnvelopeDepth = 32;
constexpr std::uint32_t kDataDepth = 128;
constexpr std::int64_t kIdMax = 9007199254740991;   // 2^53 - 1
constexpr std::int64_t kHistoryMax = 1000;
constexpr std::size_t kShownKeyBytes = 64;

Error bad(std::string_view field, std::string_view what) {
    return {ErrorCode::bad_request, std::string(field) + ": " + std::string(what)};
}

Error too_large(std::string_view field, std::size_t size, std::string_view limit, std::size_t limit_value) {
    return {ErrorCode::too_large, std::string(field) + ": " + std::to_string(size) + " bytes, the limit " +
                                      std::string(limit) + " is " + std::to_string(limit_value)};
}

// A key of the client's in an error is cut, between two characters: an answer is not as long as what it answers.
std::string_view shown(std::string_view key) {
    if (key.size() <= kShownKeyBytes) { return key; }
    std::size_t size = kShownKeyBytes;
    while (size > 0 && (static_cast<unsigned char>(key[size]) & 0xC0) == 0x80) { --size; }
    return key.substr(0, size);
}

// The same for an error of json::fields, which has the key before its last colon.
std::string shown_error(std::string_view error) {
    const std::size_t colon = error.rfind(": ");
    if (colon == std::string_view::npos) { return std::string(error); }
    return std::string(shown(error.substr(0, colon))) + std::string(error.substr(colon));
}

bool has_control(std::string_view text) {
    for (const unsigned char c : text) {
        if (c < 0x20 || c == 0x7F) { return true; }
    }
    return false;
}

// The fields of one object and the first error met in them: decoders read on and look once.
class Reader {
 public:
    Reader(const std::vector<json::Field>& list, const Limits& limits) : fields_(list), limits_(limits) {}

    const json::Value* find(std::string_view key) const {
        for (const auto& field : fields_) {
            if (field.key == key) { return &field.value; }
        }
        return nullptr;
    }
    void fail(Error error) {
        if (!error_) { error_ = std::move(error); }
    }
    const std::optional<Error>& error() const { return error_; }

    std::optional<std::string> text(std::string_view key) {
        const json::Value* value = find(key);
        if (value == nullptr) { return std::nullopt; }
        if (value->kind != json::Kind::string) {
            fail(bad(key, "is not a string"));
            return std::nullopt;
        }
        auto decoded = json::unescape(value->raw);
        if (!decoded) { fail(bad(key, "has a lone surrogate")); }
        return decoded;
    }
    std::string required_text(std::string_view key) {
        if (find(key) == nullptr) { fail(bad(key, "is missing")); }
        return text(key).value_or("");
    }
    // 1 to `bytes_max` bytes, no control characters.
    std::optional<std::string> name(std::string_view key, std::string_view limit, std::size_t bytes_max) {
        auto value = text(key);
        if (!value) { return value; }
        if (value->empty()) { fail(bad(key, "is empty")); }
        if (value->size() > bytes_max) { fail(too_large(key, value->size(), limit, bytes_max)); }
        if (has_control(*value)) { fail(bad(key, "has a control character")); }
        return value;
    }
    std::string channel() {
        std::string value = required_text("channel");
        if (find("channel") != nullptr && !error_) {
            if (auto error = check_channel(value, limits_.channel_bytes, "channel")) { fail(std::move(*error)); }
        }
        return value;
    }
    bool boolean(std::string_view key, bool otherwise) {
        const json::Value* value = find(key);
        if (value == nullptr) { return otherwise; }
        if (value->kind != json::Kind::boolean) { fail(bad(key, "is not true or false")); }
        return value->raw == "true";
    }
    std::optional<std::int64_t> integer(std::string_view key) {
        const json::Value* value = find(key);
        if (value == nullptr) { return std::nullopt; }
        const auto number = value->kind == json::Kind::number ? json::integer(value->raw) : std::nullopt;
        if (!number) { fail(bad(key, "is not an integer")); }
        return number;
    }
    std::string raw(std::string_view key, std::string_view limit, std::size_t bytes_max) {
        const json::Value* value = find(key);
        if (value == nullptr) {
            fail(bad(key, "is missing"));
            return {};
        }
        if (value->raw.size() > bytes_max) {
            fail(too_large(key, value->raw.size(), limit, bytes_max));
            return {};
        }
        return std::string(value->raw);
    }
    std::optional<Position> position(std::string_view key) {
        const json::Value* value = find(key);
        if (value == nullptr) { return std::nullopt; }
        const std::string prefix(key);
        if (value->kind != json::Kind::object) {
            fail(bad(key, "is not an object {epoch, offset, id}"));
            return std::nullopt;
        }
        const auto inner = json::fields(*value);
        if (!inner) {
            fail(bad(key, shown_error(inner.error())));
            return std::nullopt;
        }
        Reader reader(*inner, limits_);
        Position position;
        position.epoch = reader.required_text("epoch");
        position.id = reader.required_text("id");
        const auto offset = reader.integer("offset");
        if (reader.find("offset") == nullptr) { reader.fail(bad("offset", "is missing")); }
        if (offset && *offset < 0) { reader.fail(bad("offset", "is negative")); }
        if (reader.error()) { fail({reader.error()->code, prefix + "." + reader.error()->message}); }
        position.offset = static_cast<std::uint64_t>(offset.value_or(0));
        return position;
    }

    const Limits& limits() const { return limits_; }

 private:
    const std::vector<json::Field>& fields_;
    const Limits& limits_;
    std::optional<Error> error_;
};

Command decode_connect(Reader& in) {
    Connect out;
    out.token = in.text("token");
    out.user = in.text("user");
    if (out.user) {
        if (auto error = check_user(*out.user, in.limits().user_bytes, "user")) { in.fail(std::move(*error)); }
    }
    out.resume = in.text("resume");
    out.notifications = in.position("notifications");
    return out;
}

Command decode_subscribe(Reader& in) {
    Subscribe out;
    out.channel = in.channel();
    if (const json::Value* presence = in.find("presence"); presence != nullptr && presence->kind != json::Kind::null) {
        out.present = presence->raw != "false";
        out.presence_asked = out.present;
        if (presence->kind != json::Kind::boolean) {
            out.presence_data = in.raw("presence", "presence_bytes", in.limits().presence_bytes);
        }
    }
    if (const auto watch = in.text("watch")) {
        if (*watch == "members") {
            out.watch = Watch::members;
        } else if (*watch == "count") {
            out.watch = Watch::count;
        } else if (*watch == "none") {
            out.watch = Watch::none;
        } else {
            in.fail(bad("watch", "is none of members, count, none"));
        }
    }
    out.recover = in.position("recover");
    out.token = in.text("token");
    return out;
}

Command decode_publish(Reader& in) {
    Publish out;
    out.channel = in.channel();
    out.data = in.raw("data", "data_bytes", in.limits().data_bytes);
    out.event = in.name("event", "event_bytes", in.limits().event_bytes);
    out.key = in.name("key", "key_bytes", in.limits().key_bytes);
    out.conflate_key = in.name("conflateKey", "key_bytes", in.limits().key_bytes);
    out.echo = in.boolean("echo", true);
    return out;
}

Command decode_history(Reader& in) {
    HistoryGet out;
    out.channel = in.channel();
    out.since = in.position("since");
    if (const auto limit = in.integer("limit")) {
        if (*limit < 1) { in.fail(bad("limit", "is less than 1")); }
        if (*limit > kHistoryMax) {
            in.fail({ErrorCode::limit_exceeded,
                     "limit: " + std::to_string(*limit) + ", the limit is " + std::to_string(kHistoryMax)});
        }
        out.limit = static_cast<std::uint32_t>(std::clamp<std::int64_t>(*limit, 1, kHistoryMax));
    }
    out.reverse = in.boolean("reverse", false);
    return out;
}

Command decode_unsubscribe(Reader& in) { return Unsubscribe{in.channel()}; }
Command decode_typing(Reader& in) {
    Typing out{in.channel(), true};
    out.active = in.boolean("active", true);
    return out;
}
Command decode_presence_update(Reader& in) {
    PresenceUpdate out{in.channel(), {}};
    out.data = in.raw("data", "presence_bytes", in.limits().presence_bytes);
    return out;
}
Command decode_presence_get(Reader& in) { return PresenceGet{in.channel()}; }
Command decode_refresh(Reader& in) { return Refresh{in.required_text("token")}; }
Command decode_ack(Reader& in) {
    const auto offset = in.integer("offset");
    if (in.find("offset") == nullptr) { in.fail(bad("offset", "is missing")); }
    if (offset && *offset < 0) { in.fail(bad("offset", "is negative")); }
    return NotificationAck{static_cast<std::uint64_t>(std::max<std::int64_t>(offset.value_or(0), 0))};
}
Command decode_ping(Reader&) { return Ping{}; }

struct Type {
    std::string_view name;
    Command (*decode)(Reader&);
};
constexpr std::array kTypes = {
    Type{"connect", decode_connect},
    Type{"subscribe", decode_subscribe},
    Type{"unsubscribe", decode_unsubscribe},
    Type{"publish", decode_publish},
    Type{"typing", decode_typing},
    Type{"presence.update", decode_presence_update},
    Type{"presence.get", decode_presence_get},
    Type{"history.get", decode_history},
    Type{"refresh", decode_refresh},
    Type{"notification.ack", decode_ack},
    Type{"ping", decode_ping},
};

}  // namespace

std::optional<Error> check_channel(std::string_view channel, std::size_t bytes_max, std::string_view field) {
    if (channel.empty()) { return bad(field, "is empty"); }
    if (channel.size() > bytes_max) { return too_large(field, channel.size(), "channel_bytes", bytes_max); }
    if (channel.front() == '@' || channel.front() == '$') { return bad(field, "a leading @ or $ is reserved"); }
    if (has_control(channel)) { return bad(field, "has a control character"); }
    return std::nullopt;
}

std::optional<Error> check_user(std::string_view user, std::size_t bytes_max, std::string_view field) {
    if (user.empty()) { return bad(field, "is empty"); }
    if (user.size() > bytes_max) { return too_large(field, user.size(), "user_bytes", bytes_max); }
    if (has_control(user)) { return bad(field, "has a control character"); }
    return std::nullopt;
}

std::expected<Request, DecodeError> decode(std::string_view text, const Limits& limits) {
    const auto refuse = [](RequestId id, Error error, std::optional<std::string> channel = {}) {
        return std::unexpected(DecodeError{id, std::move(error), std::move(channel)});
    };
    // No deeper than its bytes: what is too deep is found below, where the field and the id are known.
    const auto value = json::parse(text, static_cast<std::uint32_t>(limits.frame_bytes));
    if (!value) { return refuse({}, bad("frame", value.error())); }
    if (value->kind != json::Kind::object) { return refuse({}, bad("frame", "is not a JSON object")); }
    const auto list = json::fields(*value);
    if (!list) { return refuse({}, bad("frame", shown_error(list.error()))); }
    Reader in(*list, limits);
    RequestId id;
    if (in.find("id") != nullptr) {
        id = in.integer("id");
        if (!id || *id < 1 || *id > kIdMax) { return refuse({}, bad("id", "is not an integer from 1 to 2^53-1")); }
    }
    const std::string type = in.required_text("type");
    if (in.error()) { return refuse(id, *in.error()); }
    const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const Type& entry) { return entry.name == type; });
    if (known == kTypes.end()) { return refuse(id, bad("type", "is unknown")); }
    const bool publishes = type == "publish";
    for (const auto& field : *list) {
        const bool payload = publishes && field.key == "data";
        // The envelope itself is one of its levels.
        const std::uint32_t most = payload ? kDataDepth : kEnvelopeDepth - 1;
        if (json::depth(field.value.raw) > most) {
            in.fail(bad(shown(field.key), "is deeper than " + std::to_string(payload ? kDataDepth : kEnvelopeDepth) + " levels"));
        }
    }
    Command command = known->decode(in);
    if (!in.error()) { return Request{id, std::move(command)}; }
    std::optional<std::string> channel;
    if (const json::Value* named = in.find("channel"); named != nullptr && named->kind == json::Kind::string) {
        channel = json::unescape(named->raw);
        if (channel && check_channel(*channel, limits.channel_bytes, "channel")) { channel.reset(); }
    }
    return refuse(id, *in.error(), std::move(channel));
}

}  // namespace starling::codec::native

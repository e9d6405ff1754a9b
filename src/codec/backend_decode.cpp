// The backend's calls: a table of paths, and one decoder for each.

#include <algorithm>
#include <array>
#include <charconv>

#include "codec/backend.h"
#include "codec/http.h"
#include "codec/json.h"

namespace starling::codec::backend {

namespace {

constexpr std::uint32_t kEnvelopeDepth = 32;
constexpr std::uint32_t kDataDepth = 128;
constexpr std::int64_t kPageMax = 1000;
constexpr std::size_t kUsersMax = 1000;
constexpr std::size_t kReasonBytes = 123;        // What fits behind the code of a close frame.

using Pairs = std::vector<std::pair<std::string, std::string>>;

Error bad(std::string_view field, std::string_view what) {
    return {ErrorCode::bad_request, std::string(field) + ": " + std::string(what)};
}
Error too_large(std::string_view field, std::size_t size, std::string_view limit, std::size_t most) {
    return {ErrorCode::too_large, std::string(field) + ": " + std::to_string(size) + " bytes, the limit " +
                                      std::string(limit) + " is " + std::to_string(most)};
}
Error too_many(std::string_view field, std::string_view limit, std::size_t most) {
    return {ErrorCode::limit_exceeded,
            std::string(field) + ": more than the limit " + std::string(limit) + " of " + std::to_string(most)};
}

bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

template <typename Number>
std::optional<Number> number(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
    if (!is_digits || error != std::errc() || end != text.data() + text.size()) { return std::nullopt; }
    return value;
}

// One call's path parts, query and body, and the first error met in them: decoders read on, and
// decode() looks once.
class Call {
 public:
    Call(const Limits& limits, std::vector<std::string> parts) : limits_(limits), parts_(std::move(parts)) {}

    void fail(Error error) {
        if (!error_) { error_ = std::move(error); }
    }
    const std::optional<Error>& error() const { return error_; }
    const Limits& limits() const { return limits_; }

    void read_query(std::string_view query) {
        if (!http::parse_query(query, query_)) { return fail(bad("query", "is malformed")); }
        for (std::size_t i = 0; i < query_.size(); ++i) {
            for (std::size_t j = 0; j < i; ++j) {
                if (query_[i].first == query_[j].first) { return fail(bad(query_[i].first, "is there twice")); }
            }
        }
    }
    // Absent is the empty object: what is missing from it is told by name.
    void read_body(std::string_view body) {
        const auto value = json::parse(body.empty() ? "{}" : body, kDataDepth + 1);
        if (!value) { return fail(bad("body", value.error())); }
        if (value->kind != json::Kind::object) { return fail(bad("body", "is not a JSON object")); }
        auto list = json::fields(*value);
        if (!list) { return fail(bad("body", list.error())); }
        fields_ = std::move(*list);
        for (const auto& field : fields_) {
            const bool is_payload = field.key == "data";
            const std::uint32_t most = is_payload ? kDataDepth : kEnvelopeDepth - 1;   // The body is one level.
            if (json::depth(field.value.raw) > most) {
                fail(bad(field.key, "is deeper than " + std::to_string(is_payload ? kDataDepth : kEnvelopeDepth) + " levels"));
            }
        }
    }

    // --- path ---
    const std::string& part() const { return parts_.front(); }
    std::string path_channel() { return checked_channel(part()); }
    std::string path_user() { return checked_user(part(), "userId"); }

    // --- query ---
    const std::string* query(std::string_view key) const {
        for (const auto& [name, value] : query_) {
            if (name == key) { return &value; }
        }
        return nullptr;
    }
    std::uint32_t page_limit() {
        const std::string* text = query("limit");
        if (text == nullptr) { return 100; }
        const auto limit = number<std::int64_t>(*text);
        if (!limit || *limit < 1 || *limit > kPageMax) { fail(bad("limit", "is not an integer from 1 to 1000")); }
        return static_cast<std::uint32_t>(std::clamp<std::int64_t>(limit.value_or(1), 1, kPageMax));
    }
    std::optional<std::string> cursor() {
        const std::string* text = query("cursor");
        if (text == nullptr) { return std::nullopt; }
        if (text->empty()) { fail(bad("cursor", "is empty")); }
        return *text;
    }
    // epoch.offset.id: neither an epoch nor an id holds a dot. At offset 0 the id is empty.
    std::optional<Position> since() {
        const std::string* text = query("since");
        if (text == nullptr) { return std::nullopt; }
        const std::size_t first = std::min(text->find('.'), text->size());
        const std::size_t last = std::max(text->rfind('.') + 1, std::size_t{1}) - 1;
        const auto offset = first < last ? number<std::uint64_t>(std::string_view(*text).substr(first + 1, last - first - 1))
                                         : std::nullopt;
        if (first == 0 || !offset) {
            fail(bad("since", "is not epoch.offset.id"));
            return std::nullopt;
        }
        return Position{text->substr(0, first), *offset, text->substr(last + 1)};
    }
    bool query_flag(std::string_view key) {
        const std::string* text = query(key);
        if (text == nullptr) { return false; }
        if (*text != "true" && *text != "false") { fail(bad(key, "is not true or false")); }
        return *text == "true";
    }

    // --- body ---
    const json::Value* find(std::string_view key) const {
        for (const auto& field : fields_) {
            if (field.key == key) { return &field.value; }
        }
        return nullptr;
    }
    std::optional<std::string> text(std::string_view key) {
        const json::Value* value = find(key);
        return value == nullptr ? std::nullopt : text_of(*value, key);
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
    std::optional<std::string> event() { return name("event", "event_bytes", limits_.wire.event_bytes); }
    std::optional<std::string> key(std::string_view key = "key") { return name(key, "key_bytes", limits_.wire.key_bytes); }
    std::string data() { return raw("data", "data_bytes", limits_.wire.data_bytes); }
    std::string raw(std::string_view key, std::string_view limit, std::size_t bytes_max) {
        const json::Value* value = find(key);
        if (value == nullptr) {
            fail(bad(key, "is missing"));
            return {};
        }
        if (value->raw.size() > bytes_max) { fail(too_large(key, value->raw.size(), limit, bytes_max)); }
        return std::string(value->raw);
    }
    std::string body_channel() {
        const auto value = required_text("channel");
        return value ? checked_channel(*value) : std::string();
    }
    std::string body_user() {
        const auto value = required_text("userId");
        return value ? checked_user(*value, "userId") : std::string();
    }
    bool boolean(std::string_view key, bool otherwise) {
        const json::Value* value = find(key);
        if (value == nullptr) { return otherwise; }
        if (value->kind != json::Kind::boolean) { fail(bad(key, "is not true or false")); }
        return value->raw == "true";
    }
    // Strings, whose rules the domain checks one by one.
    std::vector<std::string> names(std::string_view key, std::string_view limit, std::size_t count_max) {
        std::vector<std::string> out;
        const json::Value* value = find(key);
        if (value == nullptr || value->kind != json::Kind::array) {
            fail(bad(key, value == nullptr ? "is missing" : "is not an array"));
            return out;
        }
        const auto list = json::elements(*value, count_max);
        if (!list) {
            fail(too_many(key, limit, count_max));
            return out;
        }
        out.reserve(list->size());
        for (const json::Value& entry : *list) { out.push_back(text_of(entry, key).value_or("")); }
        return out;
    }

 private:
    std::optional<std::string> text_of(const json::Value& value, std::string_view key) {
        if (value.kind != json::Kind::string) {
            fail(bad(key, "is not a string"));
            return std::nullopt;
        }
        auto decoded = json::unescape(value.raw);
        if (!decoded) { fail(bad(key, "has a lone surrogate")); }
        return decoded;
    }
    std::optional<std::string> required_text(std::string_view key) {
        if (find(key) == nullptr) { fail(bad(key, "is missing")); }
        return text(key);
    }
    std::string checked_channel(std::string channel) {
        if (auto error = native::check_channel(channel, limits_.wire.channel_bytes, "channel")) { fail(std::move(*error)); }
        return channel;
    }
    std::string checked_user(std::string user, std::string_view field) {
        if (auto error = native::check_user(user, limits_.wire.user_bytes, field)) { fail(std::move(*error)); }
        return user;
    }

    const Limits& limits_;
    std::vector<std::string> parts_;
    Pairs query_;
    std::vector<json::Field> fields_;
    std::optional<Error> error_;
};

Request publish(Call& in) {
    PublishMessage out{.channel = in.path_channel(), .data = in.data(), .event = in.event(), .key = in.key()};
    out.conflate_key = in.key("conflateKey");
    out.exclude = in.text("exclude");
    if (in.find("userId") != nullptr) { out.user_id = in.body_user(); }
    return out;
}
Request broadcast(Call& in) {
    return Broadcast{.channels = in.names("channels", "broadcast_channels", in.limits().broadcast_channels),
                     .data = in.data(), .event = in.event(), .key = in.key()};
}
Request notify(Call& in) { return Notify{.user_id = in.path_user(), .data = in.data(), .key = in.key()}; }
Request notify_many(Call& in) {
    return NotifyMany{.users = in.names("users", "users", kUsersMax), .data = in.data(), .key = in.key()};
}
Request send_direct(Call& in) { return SendDirect{.connection_id = in.part(), .data = in.data()}; }
Request typing(Call& in) {
    return Typing{.channel = in.path_channel(), .user_id = in.body_user(), .active = in.boolean("active", true)};
}
Request presence(Call& in) {
    return PresenceList{.channel = in.path_channel(), .limit = in.page_limit(), .cursor = in.cursor()};
}
Request presence_count(Call& in) { return PresenceCount{in.path_channel()}; }
Request history(Call& in) {
    return History{.channel = in.path_channel(), .since = in.since(), .limit = in.page_limit(), .reverse = in.query_flag("reverse")};
}
Request delete_history(Call& in) { return DeleteHistory{in.path_channel()}; }
Request list_channels(Call& in) {
    const std::string* prefix = in.query("prefix");
    return ListChannels{.prefix = prefix == nullptr ? "" : *prefix, .limit = in.page_limit(), .cursor = in.cursor()};
}
Request get_user(Call& in) { return GetUser{in.path_user()}; }
Request disconnect(Call& in) {
    DisconnectUser out{.user_id = in.path_user(), .reason = in.text("reason").value_or("")};
    if (const json::Value* value = in.find("code"); value != nullptr) {
        const auto code = value->kind == json::Kind::number ? json::integer(value->raw) : std::nullopt;
        if (code && (*code == close_code::ended || (*code >= 4100 && *code <= 4999))) {
            out.code = static_cast<std::uint16_t>(*code);
        } else {
            in.fail(bad("code", "is neither 4005 nor an integer from 4100 to 4999"));
        }
    }
    if (out.reason.size() > kReasonBytes) { in.fail(too_large("reason", out.reason.size(), "reason_bytes", kReasonBytes)); }
    return out;
}
Request subscribe(Call& in) {
    SubscribeUser out{.user_id = in.path_user(), .channel = in.body_channel()};
    if (const json::Value* value = in.find("presence"); value != nullptr && value->kind != json::Kind::null) {
        out.present = value->raw != "false";
        if (value->kind != json::Kind::boolean) {
            out.presence_data = in.raw("presence", "presence_bytes", in.limits().wire.presence_bytes);
        }
    }
    return out;
}
Request unsubscribe(Call& in) { return UnsubscribeUser{.user_id = in.path_user(), .channel = in.body_channel()}; }
Request nodes(Call&) { return GetNodes{}; }
Request batch_in_batch(Call& in) {
    in.fail(bad("path", "a batch in a batch"));
    return GetNodes{};
}

struct Route {
    std::string_view method;
    std::string_view path;             // `*` is one part, percent-encoded.
    Request (*decode)(Call&);
};
constexpr std::array kRoutes = {
    Route{"POST", "/v1/channels/*/messages", publish},
    Route{"GET", "/v1/channels/*/messages", history},
    Route{"DELETE", "/v1/channels/*/messages", delete_history},
    Route{"POST", "/v1/channels/*/typing", typing},
    Route{"GET", "/v1/channels/*/presence", presence},
    Route{"GET", "/v1/channels/*/presence/count", presence_count},
    Route{"GET", "/v1/channels", list_channels},
    Route{"POST", "/v1/broadcast", broadcast},
    Route{"POST", "/v1/users/*/notifications", notify},
    Route{"POST", "/v1/notifications", notify_many},
    Route{"POST", "/v1/connections/*/messages", send_direct},
    Route{"GET", "/v1/users/*", get_user},
    Route{"POST", "/v1/users/*/disconnect", disconnect},
    Route{"POST", "/v1/users/*/subscribe", subscribe},
    Route{"POST", "/v1/users/*/unsubscribe", unsubscribe},
    Route{"GET", "/v1/nodes", nodes},
    Route{"POST", "/v1/batch", batch_in_batch},
};

// Whether `path` has the form of `pattern`; `part` is what stands for the star, still encoded.
bool matches(std::string_view pattern, std::string_view path, std::string_view& part) {
    const std::size_t star = pattern.find('*');
    if (star == std::string_view::npos) { return path == pattern; }
    if (!path.starts_with(pattern.substr(0, star))) { return false; }
    path.remove_prefix(star);
    const std::size_t end = std::min(path.find('/'), path.size());
    part = path.substr(0, end);
    return path.substr(end) == pattern.substr(star + 1);
}

}  // namespace

std::expected<Request, RouteError> decode(std::string_view method, std::string_view target, std::string_view body,
                                          const Limits& limits) {
    const std::size_t path_size = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, path_size);
    bool is_known = false;
    for (const Route& route : kRoutes) {
        std::string_view encoded;
        if (!matches(route.path, path, encoded)) { continue; }
        is_known = true;
        if (route.method != method) { continue; }
        std::string part;
        if (!http::percent_decode(encoded, false, part)) {
            return std::unexpected(RouteError{bad("path", "is not percent-encoded UTF-8")});
        }
        Call call(limits, {std::move(part)});
        call.read_query(target.substr(std::min(path_size + 1, target.size())));
        if (method == "POST") { call.read_body(body); }
        if (call.error()) { return std::unexpected(RouteError{*call.error()}); }
        Request request = route.decode(call);
        if (call.error()) { return std::unexpected(RouteError{*call.error()}); }
        return request;
    }
    if (is_known) { return std::unexpected(RouteError{bad("method", "is not one of this path"), true}); }
    return std::unexpected(RouteError{{ErrorCode::not_found, "path: is unknown"}});
}

std::expected<Batch, RouteError> decode_batch(std::string_view body, const Limits& limits) {
    const auto refuse = [](Error error) { return std::unexpected(RouteError{std::move(error)}); };
    // Around each `data`: its body, its request, the list and the batch.
    const auto value = json::parse(body, kDataDepth + 4);
    if (!value) { return refuse(bad("body", value.error())); }
    if (value->kind != json::Kind::object) { return refuse(bad("body", "is not a JSON object")); }
    const auto outer = json::fields(*value);
    if (!outer) { return refuse(bad("body", outer.error())); }
    const auto requests = std::ranges::find(*outer, "requests", &json::Field::key);
    if (requests == outer->end() || requests->value.kind != json::Kind::array) {
        return refuse(bad("requests", requests == outer->end() ? "is missing" : "is not an array"));
    }
    const auto list = json::elements(requests->value, limits.batch_requests);
    if (!list) { return refuse(too_many("requests", "batch_requests", limits.batch_requests)); }

    Batch out;
    out.items.reserve(list->size());
    for (const json::Value& entry : *list) {
        if (entry.kind != json::Kind::object) { return refuse(bad("requests", "one is not an object")); }
        const auto fields = json::fields(entry);
        if (!fields) { return refuse(bad("requests", fields.error())); }
        Batch::Item& item = out.items.emplace_back();
        for (const json::Field& field : *fields) {
            if (field.key == "body" && field.value.kind != json::Kind::null) { item.body = field.value.raw; }
            if (field.key != "method" && field.key != "path") { continue; }
            const auto text = field.value.kind == json::Kind::string ? json::unescape(field.value.raw) : std::nullopt;
            if (!text) { return refuse(bad("requests." + field.key, "is not a string")); }
            (field.key == "method" ? item.method : item.path) = *text;
        }
        if (item.method.empty() || item.path.empty()) { return refuse(bad("requests", "one has no method or no path")); }
    }
    return out;
}

}  // namespace starling::codec::backend

#include "domain/control.h"

#include <concepts>

#include "codec/json.h"

namespace starling::domain::control {

namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kQuestion = 'Q';
constexpr std::uint8_t kAnswer = 'A';
constexpr std::uint32_t kDataDepth = 128;

// One description of the fields (`walk`) serves both ways.
class Writer {
 public:
    std::string out;

    void value(std::unsigned_integral auto number) {
        for (std::size_t i = 0; i < sizeof number; ++i) { out += static_cast<char>((number >> (8 * i)) & 0xff); }
    }
    void value(std::int64_t number) { value(static_cast<std::uint64_t>(number)); }
    void value(bool flag) { value(static_cast<std::uint8_t>(flag)); }
    void value(const std::string& text) {
        value(static_cast<std::uint32_t>(text.size()));
        out += text;
    }
    template <typename T>
    void value(const std::optional<T>& held) {
        value(held.has_value());
        if (held) { value(*held); }
    }
    template <typename T>
    void list(std::vector<T>& items, auto each) {
        value(static_cast<std::uint32_t>(items.size()));
        for (T& item : items) { each(*this, item); }
    }
    void json(std::string& text) { value(text); }
};

class Reader {
 public:
    explicit Reader(std::string_view in) : in_(in) {}
    bool ok() const { return ok_; }
    bool at_end() const { return in_.empty(); }

    void value(std::unsigned_integral auto& number) {
        number = 0;
        if (!take(sizeof number)) { return; }
        for (std::size_t i = 0; i < sizeof number; ++i) {
            number |= static_cast<std::decay_t<decltype(number)>>(static_cast<unsigned char>(taken_[i])) << (8 * i);
        }
    }
    void value(std::int64_t& number) {
        std::uint64_t bits = 0;
        value(bits);
        number = static_cast<std::int64_t>(bits);
    }
    void value(bool& flag) {
        std::uint8_t byte = 0;
        value(byte);
        ok_ = ok_ && byte <= 1;
        flag = byte == 1;
    }
    void value(std::string& text) {
        std::uint32_t size = 0;
        value(size);
        if (take(size)) { text.assign(taken_); }
    }
    template <typename T>
    void value(std::optional<T>& held) {
        bool has = false;
        value(has);
        if (has) { value(held.emplace()); }
    }
    template <typename T>
    void list(std::vector<T>& items, auto each) {
        std::uint32_t size = 0;
        value(size);
        // No item is smaller than a byte: a count that promises more is a lie, and is not made room for.
        if (size > in_.size()) { ok_ = false; }
        for (std::uint32_t i = 0; i < size && ok_; ++i) { each(*this, items.emplace_back()); }
    }
    // It goes on to clients as it is, so it is looked at here once more.
    void json(std::string& text) {
        value(text);
        ok_ = ok_ && codec::json::valid_utf8(text) && codec::json::parse(text, kDataDepth).has_value();
    }

 private:
    bool take(std::size_t size) {
        if (!ok_ || size > in_.size()) {
            ok_ = false;
            return false;
        }
        taken_ = in_.substr(0, size);
        in_.remove_prefix(size);
        return true;
    }

    std::string_view in_, taken_;
    bool ok_ = true;
};

void walk(auto& io, backend::GetUser& ask) { io.value(ask.user_id); }
void walk(auto& io, backend::ListChannels& ask) {
    io.value(ask.prefix);
    io.value(ask.limit);
    io.value(ask.cursor);
}
void walk(auto& io, backend::DisconnectUser& ask) {
    io.value(ask.user_id);
    io.value(ask.code);
    io.value(ask.reason);
}
void walk(auto& io, backend::SubscribeUser& ask) {
    io.value(ask.user_id);
    io.value(ask.channel);
    io.value(ask.present);
    bool has = ask.presence_data.has_value();
    io.value(has);
    if (has) { io.json(ask.presence_data ? *ask.presence_data : ask.presence_data.emplace()); }
}
void walk(auto& io, backend::UnsubscribeUser& ask) {
    io.value(ask.user_id);
    io.value(ask.channel);
}
void walk(auto& io, backend::SendDirect& ask) {
    io.value(ask.connection_id);
    io.json(ask.data);
}
void walk(auto&, backend::GetNodes&) {}
void walk(auto& io, CountDevices& ask) {
    io.list(ask.users, [](auto& each, auto& user) { each.value(user); });
}
void walk(auto& io, ResumeFrom& ask) {
    io.value(ask.connection_id);
    io.value(ask.user_id);
}
void walk(auto& io, Connections& ask) {
    io.value(ask.user_id);
    io.value(ask.connection_id);
}

void walk(auto& io, Answer& answer) {
    io.value(answer.found);
    io.value(answer.count);
    io.list(answer.devices, [](auto& each, auto& count) { each.value(count); });
    io.list(answer.channels, [](auto& each, auto& row) {
        each.value(row.channel);
        each.value(row.subscribers);
        each.value(row.present);
    });
    io.list(answer.connections, [](auto& each, auto& row) {
        each.value(row.connection_id);
        each.value(row.node_id);
        each.value(row.connected_at);
        each.list(row.channels, [](auto& inner, auto& channel) { inner.value(channel); });
    });
    io.list(answer.nodes, [](auto& each, auto& node) {
        each.value(node.node_id);
        each.value(node.address);
        each.value(node.version);
        each.value(node.uptime_ms);
        each.value(node.connections);
        each.value(node.channels);
        each.value(node.lease_age_ms);
        each.value(node.draining);
    });
    io.list(answer.grants, [](auto& each, auto& grant) {
        each.value(grant.channel);
        each.value(grant.rights);
        each.value(grant.expires_ms);
    });
}

template <std::size_t Index = 0>
bool walk_ask(Reader& io, std::uint8_t kind, Ask& ask) {
    if constexpr (Index < std::variant_size_v<Ask>) {
        if (kind != Index) { return walk_ask<Index + 1>(io, kind, ask); }
        walk(io, ask.emplace<Index>());
        return true;
    }
    return false;
}

// What a node would have refused from the backend itself.
bool sound(const Ask& ask) {
    if (const auto* kick = std::get_if<backend::DisconnectUser>(&ask)) {
        return kick->code == 4005 || (kick->code >= 4100 && kick->code <= 4999);
    }
    if (const auto* list = std::get_if<backend::ListChannels>(&ask)) { return list->limit >= 1 && list->limit <= 1000; }
    return true;
}

Writer begin(std::uint8_t what, std::uint64_t id) {
    Writer io;
    io.value(kVersion);
    io.value(what);
    io.value(id);
    return io;
}

}  // namespace

std::string encode(Question question) {
    Writer io = begin(kQuestion, question.id);
    io.value(question.app);
    io.value(static_cast<std::uint8_t>(question.ask.index()));
    std::visit([&io](auto& ask) { walk(io, ask); }, question.ask);
    return std::move(io.out);
}

std::string encode(Answer answer) {
    Writer io = begin(kAnswer, answer.id);
    walk(io, answer);
    return std::move(io.out);
}

std::optional<std::variant<Question, Answer>> decode(std::string_view payload) {
    Reader io(payload);
    std::uint8_t version = 0;
    std::uint8_t what = 0;
    std::uint64_t id = 0;
    io.value(version);
    io.value(what);
    io.value(id);
    if (!io.ok() || version != kVersion) { return std::nullopt; }
    if (what == kAnswer) {
        Answer answer{.id = id};
        walk(io, answer);
        if (!io.ok() || !io.at_end()) { return std::nullopt; }
        return answer;
    }
    if (what != kQuestion) { return std::nullopt; }
    Question question{.id = id};
    std::uint8_t kind = 0;
    io.value(question.app);
    io.value(kind);
    if (!walk_ask(io, kind, question.ask) || !io.ok() || !io.at_end() || !sound(question.ask)) { return std::nullopt; }
    return question;
}

}  // namespace starling::domain::control

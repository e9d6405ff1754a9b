// Strings, and what holds for keys of any type.
#include "redis_store.h"

namespace starling::sim {

namespace {

Reply not_integer() { return Reply::error("ERR value is not an integer or out of range"); }
Reply invalid_expire(const char* command) { return Reply::error(std::string("ERR invalid expire time in '") + command + "' command"); }

Reply get(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::nil(); }
    const auto* text = std::get_if<std::string>(&key->value);
    return text == nullptr ? wrong_type() : Reply::bulk(*text);
}

Reply mget(Call& call, Words& words) {
    Reply out = Reply::array();
    for (std::size_t i = 1; i < words.size(); ++i) {
        auto* key = call.store.find(words[i], call.now_ms);
        const auto* text = key == nullptr ? nullptr : std::get_if<std::string>(&key->value);
        out.elements.push_back(text == nullptr ? Reply::nil() : Reply::bulk(*text));
    }
    return out;
}

// Milliseconds of an expiry given as a number and a unit; nullopt: out of range.
std::optional<std::int64_t> expiry(std::int64_t value, bool seconds, bool absolute, std::int64_t now_ms) {
    std::int64_t ms = value;
    if (seconds && __builtin_mul_overflow(value, 1000, &ms)) { return std::nullopt; }
    if (!absolute && __builtin_add_overflow(ms, now_ms, &ms)) { return std::nullopt; }
    return ms;
}

Reply set(Call& call, Words& words) {
    std::optional<std::int64_t> expires;
    std::string timed;                       // The option that gave the expiry; only the same one may come again.
    bool nx = false, xx = false, keep = false, returns = false, bad_number = false, bad_time = false;
    for (std::size_t i = 3; i < words.size(); ++i) {
        const auto option = lower(words[i]);
        if (option == "nx" && !xx) { nx = true; }
        else if (option == "xx" && !nx) { xx = true; }
        else if (option == "get") { returns = true; }
        else if (option == "keepttl" && timed.empty()) { keep = true; }
        else if ((option == "ex" || option == "px" || option == "exat" || option == "pxat") &&
                 (timed.empty() || timed == option) && !keep &&
                 i + 1 < words.size()) {
            timed = option;
            const auto value = parse_integer(words[++i]);
            const bool seconds = option[0] == 'e', absolute = option.size() == 4;
            bad_number = !value;
            if (!value) { continue; }
            expires = expiry(*value, seconds, absolute, call.now_ms);
            bad_time = *value <= 0 || !expires;
        } else {
            return syntax_error();
        }
    }
    if (bad_number) { return not_integer(); }
    if (bad_time) { return invalid_expire("set"); }
    auto* old = call.store.find(words[1], call.now_ms);
    Reply before = Reply::nil();
    if (returns && old != nullptr) {
        const auto* text = std::get_if<std::string>(&old->value);
        if (text == nullptr) { return wrong_type(); }
        before = Reply::bulk(*text);
    }
    if ((nx && old != nullptr) || (xx && old == nullptr)) { return returns ? before : Reply::nil(); }
    if (keep && old != nullptr) { expires = old->expires_ms; }
    call.store.set(words[1], {.value = words[2], .expires_ms = expires});
    call.dirty = true;
    call.replicated = Words{"SET", words[1], words[2]};
    if (expires) { call.replicated->insert(call.replicated->end(), {"PXAT", std::to_string(*expires)}); }
    return returns ? before : Reply::ok();
}

Reply set_nx(Call& call, Words& words) {
    if (call.store.find(words[1], call.now_ms) != nullptr) { return Reply::number(0); }
    call.store.set(words[1], {.value = words[2]});
    call.dirty = true;
    return Reply::number(1);
}

template <bool kSeconds>
Reply set_ex(Call& call, Words& words) {
    const auto value = parse_integer(words[2]);
    if (!value) { return not_integer(); }
    const auto expires = expiry(*value, kSeconds, false, call.now_ms);
    if (*value <= 0 || !expires) { return invalid_expire(kSeconds ? "setex" : "psetex"); }
    call.store.set(words[1], {.value = words[3], .expires_ms = expires});
    call.dirty = true;
    call.replicated = Words{"SET", words[1], words[3], "PXAT", std::to_string(*expires)};
    return Reply::ok();
}

Reply add(Call& call, Words& words, std::int64_t amount) {
    auto* key = call.store.find(words[1], call.now_ms);
    std::int64_t value = 0;
    if (key != nullptr) {
        const auto* text = std::get_if<std::string>(&key->value);
        if (text == nullptr) { return wrong_type(); }
        const auto old = parse_integer(*text);
        if (!old) { return not_integer(); }
        value = *old;
    }
    if (__builtin_add_overflow(value, amount, &value)) {
        return Reply::error("ERR increment or decrement would overflow");
    }
    if (key == nullptr) { key = &call.store.set(words[1], {.value = std::string()}); }
    key->value = std::to_string(value);
    call.dirty = true;
    return Reply::number(value);
}

Reply incr(Call& call, Words& words) { return add(call, words, 1); }
Reply decr(Call& call, Words& words) { return add(call, words, -1); }
Reply incr_by(Call& call, Words& words) {
    const auto amount = parse_integer(words[2]);
    return amount ? add(call, words, *amount) : not_integer();
}

Reply str_len(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::number(0); }
    const auto* text = std::get_if<std::string>(&key->value);
    return text == nullptr ? wrong_type() : Reply::number(static_cast<std::int64_t>(text->size()));
}

Reply del(Call& call, Words& words) {
    std::int64_t count = 0;
    for (std::size_t i = 1; i < words.size(); ++i) { count += call.store.erase(words[i], call.now_ms); }
    call.dirty = count > 0;
    return Reply::number(count);
}

Reply exists(Call& call, Words& words) {
    std::int64_t count = 0;
    for (std::size_t i = 1; i < words.size(); ++i) { count += call.store.find(words[i], call.now_ms) != nullptr; }
    return Reply::number(count);
}

template <bool kSeconds, bool kAbsolute>
Reply expire(Call& call, Words& words) {
    static constexpr const char* kName = kAbsolute ? (kSeconds ? "expireat" : "pexpireat") : (kSeconds ? "expire" : "pexpire");
    bool nx = false, xx = false, gt = false, lt = false;
    for (std::size_t i = 3; i < words.size(); ++i) {
        const auto option = lower(words[i]);
        if (option == "nx") { nx = true; }
        else if (option == "xx") { xx = true; }
        else if (option == "gt") { gt = true; }
        else if (option == "lt") { lt = true; }
        else { return Reply::error("ERR Unsupported option " + words[i]); }
    }
    if (nx && (xx || gt || lt)) { return Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"); }
    if (gt && lt) { return Reply::error("ERR GT and LT options at the same time are not compatible"); }
    const auto value = parse_integer(words[2]);
    if (!value) { return not_integer(); }
    const auto expires = expiry(*value, kSeconds, kAbsolute, call.now_ms);
    if (!expires) { return invalid_expire(kName); }
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::number(0); }
    const auto old = key->expires_ms;
    if ((nx && old) || (xx && !old) || (gt && (!old || *expires <= *old)) || (lt && old && *expires >= *old)) {
        return Reply::number(0);
    }
    call.dirty = true;
    if (*expires <= call.now_ms) {
        call.store.erase(words[1], call.now_ms);
        call.replicated = Words{"DEL", words[1]};
    } else {
        key->expires_ms = expires;
        call.replicated = Words{"PEXPIREAT", words[1], std::to_string(*expires)};
    }
    return Reply::number(1);
}

template <bool kSeconds>
Reply ttl(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr) { return Reply::number(-2); }
    if (!key->expires_ms) { return Reply::number(-1); }
    const auto ms = *key->expires_ms - call.now_ms;
    return Reply::number(kSeconds ? (ms + 500) / 1000 : ms);
}

Reply persist(Call& call, Words& words) {
    auto* key = call.store.find(words[1], call.now_ms);
    if (key == nullptr || !key->expires_ms) { return Reply::number(0); }
    key->expires_ms.reset();
    call.dirty = true;
    return Reply::number(1);
}

Reply type(Call& call, Words& words) {
    static constexpr const char* kTypes[] = {"string", "hash", "set", "stream"};
    auto* key = call.store.find(words[1], call.now_ms);
    return Reply::status(key == nullptr ? "none" : kTypes[key->value.index()]);
}

}  // namespace

std::vector<Command> string_commands() {
    return {
        {"get", 2, false, false, get},
        {"mget", -2, false, false, mget},
        {"set", -3, true, true, set},
        {"setnx", 3, true, true, set_nx},
        {"setex", 4, true, true, set_ex<true>},
        {"psetex", 4, true, true, set_ex<false>},
        {"incr", 2, true, true, incr},
        {"decr", 2, true, true, decr},
        {"incrby", 3, true, true, incr_by},
        {"strlen", 2, false, false, str_len},
        {"del", -2, true, false, del},
        {"unlink", -2, true, false, del},
        {"exists", -2, false, false, exists},
        {"expire", -3, true, false, expire<true, false>},
        {"pexpire", -3, true, false, expire<false, false>},
        {"expireat", -3, true, false, expire<true, true>},
        {"pexpireat", -3, true, false, expire<false, true>},
        {"ttl", 2, false, false, ttl<true>},
        {"pttl", 2, false, false, ttl<false>},
        {"persist", 2, true, false, persist},
        {"type", 2, false, false, type},
    };
}

}  // namespace starling::sim

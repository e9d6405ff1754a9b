// Hashes and sets. Their order in replies is that of their keys, where Redis' own is arbitrary.
#include "base/hash.h"
#include "redis_store.h"

namespace starling::sim {

namespace {

// The collection under the key: null when there is no such key; `wrong` when it is of another type.
template <typename Type>
Type* find(Call& call, std::string_view name, bool& wrong) {
    auto* key = call.store.find(name, call.now_ms);
    if (key == nullptr) { return nullptr; }
    auto* value = std::get_if<Type>(&key->value);
    wrong = value == nullptr;
    return value;
}

template <typename Type>
Type* find_or_make(Call& call, const std::string& name, bool& wrong) {
    auto* value = find<Type>(call, name, wrong);
    if (value == nullptr && !wrong) { value = &std::get<Type>(call.store.set(name, {.value = Type()}).value); }
    return value;
}

Reply hash_set(Call& call, Words& words) {
    if (words.size() % 2 != 0) {
        return Reply::error("ERR wrong number of arguments for '" + lower(words[0]) + "' command");
    }
    bool wrong = false;
    auto* hash = find_or_make<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    std::int64_t added = 0;
    for (std::size_t i = 2; i < words.size(); i += 2) {
        added += hash->insert_or_assign(words[i], words[i + 1]).second;
    }
    call.dirty = true;
    return lower(words[0]) == "hmset" ? Reply::ok() : Reply::number(added);
}

Reply hash_set_nx(Call& call, Words& words) {
    bool wrong = false;
    auto* hash = find_or_make<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    const bool added = hash->try_emplace(words[2], words[3]).second;
    call.dirty = added;
    return Reply::number(added);
}

Reply field(const Hash* hash, std::string_view name) {
    if (hash == nullptr) { return Reply::nil(); }
    const auto it = hash->find(name);
    return it == hash->end() ? Reply::nil() : Reply::bulk(it->second);
}

Reply hash_get(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    return wrong ? wrong_type() : field(hash, words[2]);
}

Reply hash_get_many(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    Reply out = Reply::array();
    out.elements.reserve(words.size() - 2);
    for (std::size_t i = 2; i < words.size(); ++i) { out.elements.push_back(field(hash, words[i])); }
    return out;
}

template <bool kKeys, bool kValues>
Reply hash_all(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    Reply out = Reply::array();
    if (hash == nullptr) { return out; }
    out.elements.reserve(hash->size() * (kKeys + kValues));
    for (const auto& [name, value] : *hash) {
        if (kKeys) { out.elements.push_back(Reply::bulk(name)); }
        if (kValues) { out.elements.push_back(Reply::bulk(value)); }
    }
    return out;
}

Reply hash_delete(Call& call, Words& words) {
    bool wrong = false;
    auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    if (hash == nullptr) { return Reply::number(0); }
    std::int64_t count = 0;
    for (std::size_t i = 2; i < words.size(); ++i) { count += static_cast<std::int64_t>(hash->erase(words[i])); }
    call.dirty = count > 0;
    if (hash->empty()) { call.store.erase(words[1], call.now_ms); }
    return Reply::number(count);
}

Reply hash_increment(Call& call, Words& words) {
    const auto amount = parse_integer(words[3]);
    if (!amount) { return Reply::error("ERR value is not an integer or out of range"); }
    bool wrong = false;
    auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    std::int64_t value = 0;
    if (hash != nullptr) {
        if (const auto it = hash->find(words[2]); it != hash->end()) {
            const auto old = parse_integer(it->second);
            if (!old) { return Reply::error("ERR hash value is not an integer"); }
            value = *old;
        }
    }
    if (__builtin_add_overflow(value, *amount, &value)) {
        return Reply::error("ERR increment or decrement would overflow");
    }
    hash = find_or_make<Hash>(call, words[1], wrong);
    hash->insert_or_assign(words[2], std::to_string(value));
    call.dirty = true;
    return Reply::number(value);
}

Reply hash_length(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    return Reply::number(hash == nullptr ? 0 : static_cast<std::int64_t>(hash->size()));
}

Reply hash_exists(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    return Reply::number(hash != nullptr && hash->contains(words[2]));
}

Reply hash_value_size(Call& call, Words& words) {
    bool wrong = false;
    const auto* hash = find<Hash>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    const auto value = field(hash, words[2]);
    return Reply::number(static_cast<std::int64_t>(value.text.size()));
}

// Redis walks its table by slots; here by the hash of the field, with the last one as the cursor. A field that
// is there all the while is seen, whatever comes and goes meanwhile.
template <typename Type, bool kValues>
Reply scan(Call& call, Words& words) {
    const auto cursor = parse_integer(words[2]);
    if (!cursor || *cursor < 0) { return Reply::error("ERR invalid cursor"); }
    bool wrong = false;
    const auto* collection = find<Type>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    if (collection == nullptr) { return Reply::array({Reply::bulk("0"), Reply::array()}); }
    std::size_t count = 10;
    for (std::size_t i = 3; i < words.size(); i += 2) {
        if (lower(words[i]) != "count" || i + 1 == words.size()) { return syntax_error(); }
        const auto value = parse_integer(words[i + 1]);
        if (!value) { return Reply::error("ERR value is not an integer or out of range"); }
        if (*value < 1) { return syntax_error(); }
        count = static_cast<std::size_t>(*value);
    }
    Reply page = Reply::array();
    std::uint64_t next = 0;
    auto add = [&](const auto& element) {
        if constexpr (kValues) {
            page.elements.push_back(Reply::bulk(element.first));
            page.elements.push_back(Reply::bulk(element.second));
        } else {
            page.elements.push_back(Reply::bulk(element));
        }
    };
    if (collection->size() <= call.scan_whole) {
        for (const auto& element : *collection) { add(element); }
    } else {
        std::multimap<std::uint64_t, const typename Type::value_type*> order;
        for (const auto& element : *collection) {
            std::string_view name;
            if constexpr (kValues) { name = element.first; } else { name = element; }
            order.emplace((hash64(name, 7) >> 16) + 1, &element);
        }
        std::size_t taken = 0;
        for (auto it = order.upper_bound(static_cast<std::uint64_t>(*cursor)); it != order.end(); ++it) {
            if (taken >= count && it->first != next) { break; }
            add(*it->second);
            next = it->first;
            ++taken;
        }
        if (order.upper_bound(next) == order.end() || taken == 0) { next = 0; }
    }
    return Reply::array({Reply::bulk(std::to_string(next)), std::move(page)});
}

Reply set_add(Call& call, Words& words) {
    bool wrong = false;
    auto* set = find_or_make<Set>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    std::int64_t added = 0;
    for (std::size_t i = 2; i < words.size(); ++i) { added += set->insert(words[i]).second; }
    call.dirty = added > 0;
    return Reply::number(added);
}

Reply set_remove(Call& call, Words& words) {
    bool wrong = false;
    auto* set = find<Set>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    if (set == nullptr) { return Reply::number(0); }
    std::int64_t count = 0;
    for (std::size_t i = 2; i < words.size(); ++i) { count += static_cast<std::int64_t>(set->erase(words[i])); }
    call.dirty = count > 0;
    if (set->empty()) { call.store.erase(words[1], call.now_ms); }
    return Reply::number(count);
}

Reply set_members(Call& call, Words& words) {
    bool wrong = false;
    const auto* set = find<Set>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    Reply out = Reply::array();
    if (set != nullptr) { for (const auto& member : *set) { out.elements.push_back(Reply::bulk(member)); } }
    return out;
}

Reply set_size(Call& call, Words& words) {
    bool wrong = false;
    const auto* set = find<Set>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    return Reply::number(set == nullptr ? 0 : static_cast<std::int64_t>(set->size()));
}

Reply set_has(Call& call, Words& words) {
    bool wrong = false;
    const auto* set = find<Set>(call, words[1], wrong);
    if (wrong) { return wrong_type(); }
    return Reply::number(set != nullptr && set->contains(words[2]));
}

}  // namespace

std::vector<Command> hash_commands() {
    return {
        {"hset", -4, true, true, hash_set},
        {"hmset", -4, true, true, hash_set},
        {"hsetnx", 4, true, true, hash_set_nx},
        {"hget", 3, false, false, hash_get},
        {"hmget", -3, false, false, hash_get_many},
        {"hgetall", 2, false, false, hash_all<true, true>},
        {"hkeys", 2, false, false, hash_all<true, false>},
        {"hvals", 2, false, false, hash_all<false, true>},
        {"hdel", -3, true, false, hash_delete},
        {"hincrby", 4, true, true, hash_increment},
        {"hlen", 2, false, false, hash_length},
        {"hexists", 3, false, false, hash_exists},
        {"hstrlen", 3, false, false, hash_value_size},
        {"hscan", -3, false, false, scan<Hash, true>},
        {"sadd", -3, true, true, set_add},
        {"srem", -3, true, false, set_remove},
        {"smembers", 2, false, false, set_members},
        {"scard", 2, false, false, set_size},
        {"sismember", 3, false, false, set_has},
        {"sscan", -3, false, false, scan<Set, false>},
    };
}

}  // namespace starling::sim

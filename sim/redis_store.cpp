#include "redis_store.h"

#include <charconv>
#include <unordered_map>

namespace starling::sim {

Key* Store::find(std::string_view name, std::int64_t now_ms) {
    const auto it = keys_.find(name);
    if (it == keys_.end()) { return nullptr; }
    if (it->second.expires_ms && *it->second.expires_ms <= now_ms) {
        keys_.erase(it);
        return nullptr;
    }
    return &it->second;
}

bool Store::erase(std::string_view name, std::int64_t now_ms) {
    if (find(name, now_ms) == nullptr) { return false; }
    keys_.erase(keys_.find(name));
    return true;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (auto& c : out) { if (c >= 'A' && c <= 'Z') { c = static_cast<char>(c - 'A' + 'a'); } }
    return out;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || result.ec != std::errc{} || result.ptr != text.data() + text.size()) { return std::nullopt; }
    // "-0", "01" and the like are no integers to Redis.
    const bool negative = text[0] == '-';
    const auto digits = text.substr(negative ? 1 : 0);
    if (digits[0] == '0' && (negative || digits.size() > 1)) { return std::nullopt; }
    return value;
}

Reply wrong_type() { return Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value"); }
Reply arity_error(const std::string& command) {
    return Reply::error("ERR wrong number of arguments for '" + command + "' command");
}
Reply syntax_error() { return Reply::error("ERR syntax error"); }

const Command* find_command(std::string_view lower_name) {
    static const auto table = [] {
        std::unordered_map<std::string, Command, StringHash, std::equal_to<>> out;
        for (auto commands : {string_commands(), hash_commands(), stream_commands()}) {
            for (const auto& command : commands) { out.emplace(command.name, command); }
        }
        return out;
    }();
    const auto it = table.find(lower_name);
    return it == table.end() ? nullptr : &it->second;
}

}  // namespace starling::sim

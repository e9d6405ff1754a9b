#pragma once
// The data of a Redis: keys with their types and expiry, and the commands that touch only data. Every
// container is ordered, so that the same calls give the same replies.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "redis_reply.h"

namespace starling::sim {

struct StreamId {
    std::uint64_t ms = 0, seq = 0;
    auto operator<=>(const StreamId&) const = default;
};
struct Stream {
    struct Entry {
        StreamId id;
        Words fields;
    };
    std::deque<Entry> entries;               // Ascending.
    StreamId last;
};
using Hash = std::map<std::string, std::string, std::less<>>;
using Set = std::set<std::string, std::less<>>;

struct Key {
    std::variant<std::string, Hash, Set, Stream> value;
    std::optional<std::int64_t> expires_ms;
};

class Store {
 public:
    // The key, unless it has expired.
    Key* find(std::string_view name, std::int64_t now_ms);
    Key& set(const std::string& name, Key key) { return keys_[name] = std::move(key); }
    bool erase(std::string_view name, std::int64_t now_ms);
    void clear() { keys_.clear(); }
    std::size_t size() const { return keys_.size(); }

 private:
    std::unordered_map<std::string, Key, StringHash, std::equal_to<>> keys_;   // Nothing depends on its order.
};

// One call of a command on a store.
struct Call {
    Store& store;
    std::int64_t now_ms = 0;
    std::size_t scan_whole = 128;            // Hashes up to this many fields are scanned in one page.
    // Set by a command that changed something, where its words do not mean the same later (relative expiry).
    bool dirty = false;
    std::optional<Words> replicated;
};

struct Command {
    using Run = Reply (*)(Call&, Words&);
    const char* name;                        // Lower case.
    int arity;                               // With the name; negative: at least.
    bool write = false;
    bool grows = false;                      // Refused when memory is full.
    Run run = nullptr;
};
const Command* find_command(std::string_view lower_name);

std::string lower(std::string_view text);
std::optional<std::int64_t> parse_integer(std::string_view text);    // As strictly as Redis.
Reply wrong_type();
Reply syntax_error();
Reply arity_error(const std::string& command);

// The commands by their subject; find_command() looks through all.
std::vector<Command> string_commands();
std::vector<Command> hash_commands();
std::vector<Command> stream_commands();

}  // namespace starling::sim

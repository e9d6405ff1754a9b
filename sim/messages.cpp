// Messages as the clients saw them, against each other and against the log in Redis.
#include "engine/wire.h"
#include "world.h"

namespace starling::sim {

void World::link(const std::string& channel, const std::string& epoch, std::uint64_t offset, std::optional<std::string> before,
                 const std::string& id, const std::string& data) {
    const auto [it, is_new] = chain_.try_emplace({channel, id}, ChainLink{epoch, data, offset, before});
    if (is_new) { return; }
    ChainLink& known = it->second;
    if (known.epoch != epoch || known.offset != offset || known.data != data) {
        violation("M1 message " + id + " of " + channel + " is not the same for all: offset " + std::to_string(offset) + " and " +
                  std::to_string(known.offset) + ", data " + data + " and " + known.data);
    }
    if (!before) { return; }
    if (!known.before) { known.before = before; }
    if (*known.before != *before) { violation("M1 message " + id + " of " + channel + " came after " + *before + " and after " + *known.before); }
}

const Stream* World::log_of(const std::string& channel, std::optional<std::uint32_t> node) {
    const auto now_ms = kWallBaseMs + now().time_since_epoch() / 1ms;
    Key* found = (node ? servers_[server_of(*node)] : servers_.back())->store().find(key("s", channel), now_ms);
    return found == nullptr ? nullptr : std::get_if<Stream>(&found->value);
}

std::optional<Position> World::top_of(const std::string& channel, std::optional<std::uint32_t> node) {
    const auto now_ms = kWallBaseMs + now().time_since_epoch() / 1ms;
    Key* found = (node ? servers_[server_of(*node)] : servers_.back())->store().find(key("sm", channel), now_ms);
    if (found == nullptr) { return std::nullopt; }
    const Hash& hash = std::get<Hash>(found->value);
    const auto field = [&](const char* name) { const auto it = hash.find(name); return it == hash.end() ? std::string() : it->second; };
    return Position{field("e"), std::stoull("0" + field("o")), field("i")};
}

void World::compare_log(const std::string& channel, const Position& position, const std::deque<HeldMessage>& held, const std::string& who,
                        std::optional<std::uint32_t> node) {
    // The answer may be older than a loss that happened while it was on its way.
    if (options_.memory || lost_within(8s)) { return; }
    const auto top = top_of(channel, node);
    const Stream* log = log_of(channel, node);
    if (!top || log == nullptr || top->epoch != position.epoch) { return; }
    for (const auto& message : held) {
        const auto it = std::lower_bound(log->entries.begin(), log->entries.end(), StreamId{message.offset, 0},
                                         [](const Stream::Entry& entry, const StreamId& id) { return entry.id < id; });
        if (it == log->entries.end() || it->id.ms != message.offset) {
            if (message.offset > top->offset) { violation("M2 " + who + " holds offset " + std::to_string(message.offset) + " of " + channel + ", past the log"); }
            continue;
        }
        Message kept;
        engine::decode_body(it->fields[5], kept);
        if (it->fields[1] != message.id || kept.data != message.data) {
            violation("M2 " + who + " holds " + message.id + " at offset " + std::to_string(message.offset) + " of " + channel +
                      ", the log has " + it->fields[1]);
        }
    }
}

void World::published(const std::string& channel, const std::string& user, const std::string& key_text, const std::string& data,
                      const std::string& id, const std::string& epoch, std::uint64_t offset) {
    const bool recently = lost_within(20s);
    if (!key_text.empty()) {
        const std::string result = id + " " + epoch + " " + std::to_string(offset);
        const auto [it, is_new] = results_.try_emplace({channel, user, key_text}, result);
        if (!is_new && it->second != result) {
            if (record_.losses.empty()) { violation("M4 key " + key_text + " of " + user + " in " + channel + " gave " + it->second + " and " + result); }
            it->second = result;
        }
    }
    if (!keeps_history(channel)) { return; }
    if (offset == 0) { violation("M5 a publish to " + channel + " without an offset"); return; }
    if (options_.memory || recently) { return; }
    const Stream* log = log_of(channel);
    const auto top = top_of(channel);
    if (top && top->epoch == epoch && top->offset >= offset + options_.history_size) { return; }   // Trimmed since.
    if (log != nullptr) {
        for (const auto& entry : log->entries) {
            if (entry.id.ms != offset || entry.fields[1] != id) { continue; }
            Message kept;
            engine::decode_body(entry.fields[5], kept);
            if (kept.data != data) { violation("M5 the log has " + kept.data + " where " + data + " was published"); }
            return;
        }
    }
    violation("M5 message " + id + " of " + channel + " was acknowledged and is not in the log");
}

}  // namespace starling::sim

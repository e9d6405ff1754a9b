#include "record.h"

namespace starling::sim {

Hold* Record::find(std::uint32_t wire, const std::string& channel) {
    const auto it = open_.find({wire, channel});
    return it == open_.end() ? nullptr : &holds[it->second];
}

void Record::open(std::uint32_t wire, const std::string& user, const std::string& channel, std::uint32_t node,
                  std::uint64_t life, std::int64_t request, Instant now) {
    if (find(wire, channel) != nullptr) { return; }
    open_[{wire, channel}] = holds.size();
    Hold hold;
    hold.user = user;
    hold.channel = channel;
    hold.wire = wire;
    hold.node = node;
    hold.life = life;
    hold.request = request;
    hold.opened = now;
    holds.push_back(std::move(hold));
}

void Record::acknowledge(std::uint32_t wire, const std::string& channel, bool stale, Instant now) {
    Hold* hold = find(wire, channel);
    if (hold == nullptr || hold->acked) { return; }
    hold->stale = stale;
    if (!stale) { hold->acked = now; }
}

void Record::end(std::uint32_t wire, const std::string& channel, bool clean, Instant now) {
    Hold* hold = find(wire, channel);
    if (hold == nullptr) { return; }
    hold->ended = now;
    hold->clean = clean;
    open_.erase({wire, channel});
}

void Record::fail(std::uint32_t wire, const std::string& channel, std::int64_t request, Instant now) {
    const Hold* hold = find(wire, channel);
    if (hold != nullptr && hold->request == request) { end(wire, channel, true, now); }
}

void Record::end_all(std::uint32_t wire, bool clean, bool crashed, Instant now) {
    for (auto it = open_.lower_bound({wire, std::string()}); it != open_.end() && it->first.first == wire;) {
        Hold& hold = holds[it->second];
        hold.ended = now;
        hold.clean = clean;
        hold.crashed = crashed;
        it = open_.erase(it);
    }
}

}  // namespace starling::sim

#include "checks.h"

#include <algorithm>

#include "client.h"
#include "engine/wire.h"

namespace starling::sim {

namespace {

std::string list(const std::set<std::string>& users) {
    std::string out = "{";
    for (const auto& user : users) { out += (out.size() > 1 ? " " : "") + user; }
    return out + "}";
}

}  // namespace

std::set<std::string> Checks::present(const std::string& channel) const {
    std::set<std::string> out;
    for (const auto& [where, index] : world_.record_.open_holds()) {
        if (where.second == channel) { out.insert(world_.record_.holds[index].user); }
    }
    return out;
}

void Checks::compare_view(const std::string& channel, const std::set<std::string>& users, const std::string& whose) {
    const auto truth = present(channel);
    if (users != truth && truth.size() <= world_.options_.list_limit) {
        world_.violation("P1 " + whose + " of " + channel + " is " + list(users) + ", the truth " + list(truth));
    }
}

void Checks::at_rest() {
    clients_at_rest();
    if (!world_.options_.memory) { redis_at_rest(); }
}

void Checks::clients_at_rest() {
    for (const auto& client : world_.clients_) {
        const auto who = "client " + std::to_string(client->index());
        if (!client->current() || !client->current()->connected) { world_.violation("L1 " + who + " is not connected at rest"); return; }
        if (client->unanswered() > 0) { world_.violation("L1 " + who + " has requests without an answer"); }
        for (const auto& [channel, is_present] : client->wanted()) {
            const auto it = client->current()->subscriptions.find(channel);
            if (it == client->current()->subscriptions.end() || !it->second.live) { world_.violation("L1 " + who + " is not subscribed to " + channel + " at rest"); return; }
            const auto truth = present(channel);
            if (it->second.members) { compare_view(channel, *it->second.members, "the view of " + who + " on node " + std::to_string(client->current()->node)); }
            if (it->second.count != truth.size()) { world_.violation("P8 the count of " + who + " in " + channel + " is " + std::to_string(it->second.count) + ", the truth " + list(truth)); }
            if (!it->second.typing.empty()) { world_.violation("typing does not end for " + who + " in " + channel); }
            if (!keeps_history(channel) || world_.options_.memory) { continue; }
            const auto log = client->logs().find(channel);
            const auto top = world_.top_of(channel);
            if (log == client->logs().end() || !log->second.position || !top) { world_.violation("M6 " + who + " has no position in " + channel); return; }
            if (!(*log->second.position == *top)) {
                world_.violation("M6 " + who + " is at " + to_json(*log->second.position) + " of " + channel + ", the log at " + to_json(*top));
            }
            world_.compare_log(channel, *log->second.position, log->second.held, who + " at rest");
        }
    }
}

// P8: what Redis counts is what there is.
void Checks::redis_at_rest() {
    const auto now_ms = kWallBaseMs + world_.now().time_since_epoch() / 1ms;
    Store& store = world_.servers_.back()->store();
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(world_.options_.channels, 3); ++i) {
        const auto channel = channel_name(i);
        const auto hash = [&](const char* kind) -> const Hash* {
            Key* key = store.find(world_.key(kind, channel), now_ms);
            return key == nullptr ? nullptr : &std::get<Hash>(key->value);
        };
        std::set<std::string> counted, kept;
        std::int64_t digest = 0;
        if (const auto* users = hash("pu")) { for (const auto& [user, count] : *users) { counted.insert(user); } }
        if (const auto* users = hash("pd")) { for (const auto& [user, record] : *users) { kept.insert(user); } }
        for (const auto& user : counted) { digest += static_cast<std::int64_t>(engine::member_hash("default/" + channel, user)); }
        const auto truth = present(channel);
        if (counted != truth || kept != truth) {
            world_.violation("P8 Redis has " + list(counted) + " and " + list(kept) + " in " + channel + ", the truth " + list(truth));
        }
        const auto* meta = hash("pm");
        const auto told = meta == nullptr || !meta->contains("d") ? std::string("0") : meta->find("d")->second;
        if (told != std::to_string(digest)) { world_.violation("P8 the digest of " + channel + " in Redis is wrong"); }
    }
}

}  // namespace starling::sim

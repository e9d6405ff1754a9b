// The log as a recovery read it, kept for those who come back a little later (F21).

#include "engine/partition.h"

namespace starling::engine {

namespace {

constexpr Duration kKeptFor = 10s;           // Within which everyone comes back after a fault (F21).

}  // namespace

// Only where the channel is listened to, for then the live messages carry it on; not of users' own channels, which nobody
// shares, nor where messages end soon.
void Partition::keep(Channel& channel, const domain::History& log, std::uint64_t acknowledged) {
    if (channel.passing) { channel.passing->kept.reset(); }
    const bool lasting = log_of(channel).ttl == 0s || log_of(channel).ttl > 2 * kKeptFor;
    if (!channel.listened || channel.users_own() || !lasting) { return; }
    if (channel.chain && !channel.chain.is(log.top())) { return; }
    std::size_t bytes = 0;
    for (const Message& message : log.messages()) { bytes += message.data.size() + sizeof message; }
    if (bytes > Kept::kBytesMax) { return; }
    const Kept& kept = channel.passing.need().kept.set({log, acknowledged, bytes, now() + kKeptFor});
    kept_.emplace_back(kept.until, channel.wire());
}

// What it cannot continue the log itself is asked for: it may reach further back, or be another one by now.
bool Partition::answer_from_kept(Channel& channel, const domain::Read& read) {
    const auto& kept = channel.peek().kept;
    if (!kept || !read.since || !channel.listened || log_in_doubt(channel) || now() >= kept->until) { return false; }
    if (!channel.chain.is(kept->log.top())) { return false; }
    auto missed = kept->log.recover(*read.since, read.messages_max, read.bytes_max);
    if (!missed) { return false; }
    tell(domain::ReadAnswer{read.call, domain::ReadResult{std::move(*missed), channel.chain.get(), kept->acknowledged}});
    return true;
}

void Partition::forget_kept() {
    for (; !kept_.empty() && kept_.front().first <= now(); kept_.pop_front()) {
        Channel* channel = find(kept_.front().second);
        if (channel == nullptr || !channel->peek().kept || channel->peek().kept->until > now()) { continue; }
        channel->passing->kept.reset();
        channel->trim();
    }
}

}  // namespace starling::engine

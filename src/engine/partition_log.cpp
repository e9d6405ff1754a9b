// Messages: published by a script, announced as links of a chain, and read again where a link is missing. The end of
// the log as delivered (`chain`) moves by announcements and by what a read finds; both continue it or break it.

#include <algorithm>

#include "base/hash.h"
#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

constexpr std::size_t kRecentMax = 64;       // Ids by which a repeated announcement is told from another world's.
constexpr std::size_t kEarlyMax = 4096;
constexpr std::uint32_t kPageTriesMax = 8;
constexpr std::uint64_t kIdSeed = 11;
constexpr std::uint64_t kReadMargin = 16;    // Others were cut off a little before the first who comes back.

std::uint64_t to_offset(const codec::resp::Value& value) { return static_cast<std::uint64_t>(to_number(value)); }

struct Entries {
    std::deque<Message> messages;            // Oldest first.
    std::string before;                      // The id that the first one follows.
};

// {offset, id, before, body, ...}, in the order of reading.
Entries decode_entries(const codec::resp::Value& list, bool reverse) {
    Entries out;
    for (std::size_t i = 0; i + 3 < list.elements.size(); i += 4) {
        Message message;
        message.offset = to_offset(list.elements[i]);
        message.id = list.elements[i + 1].text;
        if (!decode_body(list.elements[i + 3].text, message)) { continue; }
        if (reverse) {
            out.messages.push_front(std::move(message));
            out.before = list.elements[i + 2].text;
        } else {
            if (out.messages.empty()) { out.before = list.elements[i + 2].text; }
            out.messages.push_back(std::move(message));
        }
    }
    return out;
}

}  // namespace

void Partition::on(domain::Publish& call, const std::string& wire) {
    const Error unavailable{ErrorCode::unavailable, "the engine is out of reach; repeat it with the same key"};
    if (call.log.size == 0 && !call.key) {
        // At most once: nothing is kept, so nothing is waited for. Out of reach it goes on among this node's clients (R13).
        codec::backend::PublishResult result{.message_id = call.message.id, .position = {}, .duplicate = false, .devices = {}};
        Announcement announcement{.epoch = {}, .offset = 0, .before = {}, .message = std::move(call.message), .except = std::move(call.except)};
        if (up_ && reach_told_) {
            redis_.publish(index_, channel_key(wire), encode(announcement), now_, out_->actions);
        } else if (Channel* channel = find(wire); channel != nullptr && channel->listened) {
            on_announcement(*channel, announcement);
        }
        tell(domain::Published{call.call, std::move(result)});
        return;
    }
    if (!up_) {
        tell(domain::Published{call.call, std::unexpected(unavailable)});
        return;
    }
    Pending pending{.kind = Pending::Kind::publish, .wire = wire, .wires = {}, .looks = {}, .syncs = {}, .call = call.call, .read = {}};
    eval(std::move(pending), scripts::publish(),
         {publish_command(), wire, call.message.id, encode_body(call.message), call.except, std::to_string(call.log.size),
          std::to_string(call.log.ttl / 1ms), random_word(), call.key.value_or(""), std::to_string(call.key_ttl / 1ms)});
}

void Partition::on(domain::Erase& call, const std::string& wire) {
    Pending pending{.kind = Pending::Kind::erase, .wire = wire, .wires = {}, .looks = {}, .syncs = {}, .call = call.call, .read = {}};
    eval(std::move(pending), scripts::erase(), {publish_command(), wire, random_word()});
}

void Partition::on(domain::Acknowledge& call, const std::string& wire) {
    Pending pending{.kind = Pending::Kind::acknowledge, .wire = wire, .wires = {}, .looks = {}, .syncs = {}, .call = call.call, .read = {}};
    eval(std::move(pending), scripts::acknowledge(), {publish_command(), wire, std::to_string(call.offset), call.except, random_word()});
}

void Partition::on(domain::Read& call, const std::string& wire) {
    if (answer_from_chain(wire, call)) { return; }
    if (call.recover) {
        // All that recover at once share one look at the log (F21).
        Channel& channel = this->channel(wire, call.channel);
        if (log_of(channel).size == 0) { set_log(channel, call.log); }
        if (!channel.reads() && answer_from_kept(channel, call)) { return; }
        channel.need_reading().next.push_back(std::move(call));
        read_log(channel);
        return;
    }
    read_page(std::move(call), wire, 0);
}

// Whether the end of the log as delivered may be another one in Redis. A node that has just begun, or was cut off from a server
// that lost nothing, need not settle for that: its snapshot is newer than the doubt. After a loss the next looks decide.
bool Partition::log_in_doubt(const Channel& channel) const {
    return cut_off() || channel.state != Channel::State::live || (lost_until_ && now() < settled_at_);
}

// Where the chain is followed and ends where the reader is, or has not begun, there is nothing to ask Redis for: most
// users have no notifications, and most who come back missed nothing.
bool Partition::answer_from_chain(const std::string& wire, const domain::Read& read) {
    const Channel* channel = find(wire);
    if (channel == nullptr || !channel->listened || !channel->chain || channel->reads() || channel->peek_behind().log || log_in_doubt(*channel)) { return false; }
    const LogEnd& chain = channel->chain;
    if (read.recover ? !read.since || !chain.is(*read.since) : read.since || chain.offset != 0) { return false; }
    tell(domain::ReadAnswer{read.call, domain::ReadResult{{}, chain.get(), 0}});
    return true;
}

void Partition::read_page(domain::Read call, const std::string& wire, std::uint32_t tries) {
    std::string from = "-";
    std::string to = "+";
    if (call.since) {
        // Inclusive: the entry of `since` itself says whether this log is the one it names.
        (call.reverse ? to : from) = std::to_string(call.since->offset) + "-0";
    }
    std::vector<std::string> args = {wire, std::move(from), std::move(to), std::to_string(call.limit + 1), call.reverse ? "1" : "0",
                                     std::to_string(call.log.size), random_word()};
    Pending pending{.kind = Pending::Kind::page_read, .wire = wire, .wires = {}, .looks = {}, .syncs = {}, .call = call.call, .read = std::move(call)};
    pending.tries = tries;
    eval(std::move(pending), scripts::read(), std::move(args));
}

void Partition::on_page_read(Pending& pending, const codec::resp::Value& value) {
    domain::Read& read = *pending.read;
    const auto& words = value.elements;
    if (words[0].text.empty()) {
        tell(domain::ReadAnswer{read.call, domain::ReadResult{}});
        return;
    }
    const Position top{words[0].text, to_offset(words[1]), words[2].text};
    // Where the channel is listened to, the answer must stand at the last message delivered. A read that announcements
    // have overtaken is made again, and one that is ahead of them is caught up with first.
    Channel* channel = find(pending.wire);
    if (channel != nullptr && channel->listened && channel->chain && !channel->chain.is(top) && pending.tries < kPageTriesMax) {
        if (top.offset > channel->chain.offset || channel->chain.epoch != top.epoch) { read_log(*channel); }
        read_page(std::move(read), pending.wire, pending.tries + 1);
        return;
    }
    Entries entries = decode_entries(words[4], read.reverse);
    // A History of what was read: its own rules say what continues `since`. A page that stops short of the top is
    // restored up to its own end.
    Position end = top;
    if (!entries.messages.empty() && entries.messages.back().offset < top.offset) {
        end.offset = entries.messages.back().offset;
        end.id = entries.messages.back().id;
    }
    if (read.since && read.since->offset > top.offset) { end = top; }
    const auto log = domain::History::restore(end, entries.before, std::move(entries.messages));
    const auto page = log.page({.since = read.since, .limit = read.limit, .reverse = read.reverse, .bytes_max = read.bytes_max});
    const std::uint64_t acknowledged = to_offset(words[3]);
    if (page) {
        tell(domain::ReadAnswer{read.call, domain::ReadResult{*page, top, acknowledged}});
    } else {
        tell(domain::ReadAnswer{read.call, std::unexpected(domain::ReadAnswer::Refused{page.error(), top, acknowledged, 1})});
    }
}

// --- the chain of a channel that is listened to ---

void Partition::on_announcement(Channel& channel, Announcement& announcement) {
    if (announcement.epoch.empty()) {
        if (channel.told) { deliver(channel, std::move(announcement.message), std::move(announcement.except)); }
        return;
    }
    if (log_of(channel).size == 0) {
        // This node's configuration keeps no history here: the message goes on, its number does not.
        announcement.message.offset = 0;
        if (channel.told) { deliver(channel, std::move(announcement.message), std::move(announcement.except)); }
        return;
    }
    if (!channel.chain || channel.reads()) {
        auto& early = channel.need_reading().early;
        if (early.size() < kEarlyMax) { early.push_back(std::move(announcement)); }
        return;                              // Those that do not fit are found missing, and read.
    }
    const LogEnd& chain = channel.chain;
    const bool same_epoch = chain.epoch == announcement.epoch;
    if (same_epoch && announcement.offset == chain.offset + 1 && chain.id == announcement.before) {
        deliver(channel, std::move(announcement.message), std::move(announcement.except));
        return;
    }
    if (same_epoch && announcement.offset <= chain.offset) {
        const auto& recent = channel.peek().recent;
        const std::uint64_t back = chain.offset - announcement.offset;
        const bool known = back == 0 ? chain.id == announcement.message.id
                                     : back <= recent.size() && *(recent.end() - static_cast<std::ptrdiff_t>(back)) == hash64(announcement.message.id, kIdSeed);
        if (known) { return; }
    }
    auto& early = channel.need_reading().early;
    if (early.size() < kEarlyMax) { early.push_back(std::move(announcement)); }
    read_log(channel);
}

// The end of the log is about to be the next one.
void Partition::note_recent(Channel& channel) {
    auto& recent = channel.passing.need().recent;
    if (recent.size() >= kRecentMax) { recent.erase(recent.begin()); }
    recent.push_back(hash64(channel.chain.id.view(), kIdSeed));
}

void Partition::deliver(Channel& channel, Message message, std::string except) {
    if (channel.chain && message.offset > 0) {
        note_recent(channel);
        channel.chain.offset = message.offset;
        channel.chain.id = ShortText(message.id);
        if (channel.reads()) { channel.need_reading().delivered.push_back(message); }
        if (auto& kept = channel.passing->kept) {
            kept->bytes += message.data.size() + sizeof message;
            if (kept->bytes > Kept::kBytesMax || kept->log.top().offset + 1 != message.offset) {
                kept.reset();
            } else {
                kept->log.append(message, {.size = log_of(channel).size, .ttl = 0s}, now());
            }
        }
    }
    if (channel.told) { tell(domain::Delivered{channel.ref(), std::move(message), std::move(except)}); }
}

// From a snapshot: where the log stands.
void Partition::on_log_position(Channel& channel, Position top) {
    if (!channel.listened) { return; }
    if (!channel.chain) {
        channel.chain.set(top);
        if (channel.passing) { channel.passing->recent = {}; }
        if (channel.told && channel.told_blind) {
            // They were let in without a position while Redis was away: what they have is unknown.
            channel.told_blind = false;
            tell(domain::Broken{channel.ref(), channel.chain.told()});
        }
        replay_early(channel);
        return;
    }
    if (!channel.chain.is(top)) { read_log(channel); }
}

void Partition::broken(Channel& channel, std::optional<Position> top) {
    channel.chain.set(top);
    if (channel.passing) {
        channel.passing->recent = {};
        channel.passing->kept.reset();
        if (channel.peek_behind().log) { channel.passing->behind->log.reset(); }
        channel.trim();
    }
    if (channel.told) { tell(domain::Broken{channel.ref(), channel.chain.told()}); }
}

void Partition::read_log(Channel& channel) {
    Channel::Reading& reading = channel.need_reading();
    if (reading.under_way) {
        reading.again = true;
        return;
    }
    reading.under_way = true;
    reading.again = false;
    reading.delivered.clear();
    reading.asked = std::exchange(reading.next, {});
    std::uint64_t from = channel.chain ? channel.chain.offset : UINT64_MAX;
    std::size_t most = 1000;
    for (const auto& read : reading.asked) {
        from = std::min(from, read.since ? read.since->offset : 0);
        most = std::max(most, read.messages_max);
    }
    if (!reading.asked.empty() && from != UINT64_MAX) { from -= std::min(from, kReadMargin); }
    reading.since = channel.chain.told().value_or(Position{});
    reading.id = ++read_serial_;
    Pending pending{.kind = Pending::Kind::read, .wire = channel.wire(), .wires = {}, .looks = {}, .syncs = {}, .call = reading.id, .read = {}};
    // Newest first, so that what the limit cuts off is the old end.
    eval(std::move(pending), scripts::read(),
         {channel.wire(), std::to_string(from) + "-0", "+", std::to_string(most + 1), "1", std::to_string(log_of(channel).size), random_word()});
}

void Partition::on_log(Channel& channel, const codec::resp::Value& value) {
    const auto& words = value.elements;
    channel.need_reading().under_way = false;
    Position top{words[0].text, to_offset(words[1]), words[2].text};
    Entries entries = decode_entries(words[4], true);
    auto log = domain::History::restore(top, entries.before, entries.messages);
    const std::vector<Message> since = std::exchange(channel.need_reading().delivered, {});
    if (channel.listened && channel.chain) {
        const Position chain = channel.chain.get();
        if (top.epoch == chain.epoch && top.offset >= chain.offset) {
            const auto missed = log.recover(chain, SIZE_MAX, SIZE_MAX);
            if (missed) {
                for (const Message& message : *missed) { deliver(channel, message, {}); }
            } else {
                broken(channel, top);
            }
        } else {
            // Overtaken by announcements, if its top is one of them; else another world.
            const bool was_top = top == channel.need_reading().since;
            const auto same = [&](const Message& message) { return message.offset == top.offset && message.id == top.id; };
            const auto at = std::find_if(since.begin(), since.end(), same);
            if (top.epoch == chain.epoch && (was_top || at != since.end())) {
                std::deque<Message> messages = std::move(entries.messages);
                messages.insert(messages.end(), was_top ? since.begin() : at + 1, since.end());
                log = domain::History::restore(chain, entries.before, std::move(messages));
            } else {
                broken(channel, top);
            }
        }
    }
    if (channel.peek_behind().log) { channel.passing->behind->log.reset(); }
    const std::uint64_t acknowledged = to_offset(words[3]);
    const std::vector<domain::Read> asked = std::exchange(channel.need_reading().asked, {});
    if (!asked.empty()) { keep(channel, log, acknowledged); }
    for (const auto& read : asked) { answer(read, log, acknowledged); }
    replay_early(channel);
    Channel::Reading& reading = channel.need_reading();
    std::erase_if(reading.next, [&](const domain::Read& read) { return answer_from_kept(channel, read); });
    if (reading.again || !reading.next.empty()) {
        reading.again = false;
        if (!reading.under_way) { read_log(channel); }
    }
    channel.trim();
    want(channel);
}

void Partition::answer(const domain::Read& read, const domain::History& log, std::uint64_t acknowledged) {
    const Position top = log.top();
    if (top.epoch.empty()) {
        tell(domain::ReadAnswer{read.call, std::unexpected(domain::ReadAnswer::Refused{domain::RecoverFailure::gap, {}, acknowledged, 1})});
        return;
    }
    // Without a position: everything after what was acknowledged, or as much of it as there is.
    std::expected<std::vector<Message>, domain::RecoverFailure> missed = std::unexpected(domain::RecoverFailure::gap);
    const std::uint64_t first = log.first_offset();
    if (read.since) {
        missed = log.recover(*read.since, read.messages_max, read.bytes_max);
        if (!missed && missed.error() == domain::RecoverFailure::gap && top.offset + 1 - first > read.messages_max) {
            missed = std::unexpected(domain::RecoverFailure::limit);
        }
    }
    if (missed) {
        tell(domain::ReadAnswer{read.call, domain::ReadResult{std::move(*missed), top, acknowledged}});
    } else {
        tell(domain::ReadAnswer{read.call, std::unexpected(domain::ReadAnswer::Refused{missed.error(), top, acknowledged, first})});
    }
}

// What came while nobody could say where it belongs.
void Partition::replay_early(Channel& channel) {
    if (channel.peek().reading.peek().early.empty()) { return; }
    std::vector<Announcement> early = std::exchange(channel.need_reading().early, {});
    for (Announcement& announcement : early) {
        if (channel.chain && channel.chain.epoch == announcement.epoch && announcement.offset <= channel.chain.offset) { continue; }
        on_announcement(channel, announcement);
    }
    channel.trim();
}

void Partition::on_log_failed(Channel& channel, const std::string& reason) {
    Channel::Reading& reading = channel.need_reading();
    reading.under_way = reading.again = false;   // The looks below see to what it was to find.
    reading.delivered.clear();
    fail_reads(channel, reason);
    reading.early.clear();                   // The next look finds what is missing.
    log_looks_.owe();
    if (channel.chain) { channel.passing.need().behind.need().log = {now() - settings_.heartbeat, channel.chain.offset}; }
    if (!reading.next.empty()) { read_log(channel); }
    channel.trim();
    want(channel);
}

void Partition::fail_reads(Channel& channel, const std::string& reason) {
    for (const auto& read : std::exchange(channel.need_reading().asked, {})) {
        const Error error{ErrorCode::unavailable, "the engine is out of reach: " + reason};
        tell(domain::ReadAnswer{read.call, std::unexpected(domain::ReadAnswer::Refused{error, {}, 0, 1})});
    }
}

}  // namespace starling::engine

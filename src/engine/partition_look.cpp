// Looking now and then whether what was followed is whole (R11): where the partition's counters moved, the positions of its
// channels or of their logs are read, some each heartbeat, until each was looked at since.

#include <algorithm>

#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

constexpr std::size_t kLookMax = 64;         // Positions in one META.
constexpr std::size_t kLooksMax = 1;         // METAs in one heartbeat. Four were half of what Redis did when 60,000 users of six nodes came back.
constexpr std::size_t kHoldersMax = 64;      // Channels whose holders are asked for in one heartbeat, in turns.
constexpr Duration kKeepAliveEvery = 3600s;  // A log without messages ends a day after it was last kept alive.

}  // namespace

void Partition::look_around() {
    // Where Redis has not answered the last ones it has enough to do; they would only wait behind each other.
    if (settings_.off.r11 || metas_ > 0) { return; }
    std::size_t looks = 0;
    while (looks < kLooksMax && (members_looks_.rounds > 0 || log_looks_.rounds > 0)) {
        if (look_from_ == 0) {
            members_looks_.begin();
            log_looks_.begin();
            keeping_alive_ = log_looks_.now && now() >= keep_alive_at_;
            if (keeping_alive_) { keep_alive_at_ = now() + kKeepAliveEvery; }
        }
        Pending pending{.kind = Pending::Kind::meta, .wire = {}, .wires = {}, .looks = {}, .syncs = {}, .call = 0, .read = {}};
        std::vector<std::string> args = {keeping_alive_ ? "1" : "0"};
        for (; look_from_ < channels_.size() && pending.wires.size() < kLookMax; ++look_from_) {
            const auto& channel = channels_[look_from_];
            if (!channel || channel->state != Channel::State::live) { continue; }
            const bool members = members_looks_.now && !channel->users_own();   // There nobody is present.
            const bool log = log_looks_.now && log_of(*channel).size > 0;
            if (!members && !log) { continue; }
            pending.wires.push_back(channel->wire());
            args.push_back(channel->wire());
            pending.looks += members && log ? 'b' : members ? 'm' : 'l';
            args.emplace_back(1, pending.looks.back());
        }
        if (!pending.wires.empty()) {
            eval(std::move(pending), scripts::meta(), std::move(args));
            ++metas_;
            ++looks;
        }
        if (look_from_ < channels_.size()) { continue; }
        look_from_ = 0;
        members_looks_.end();
        log_looks_.end();
    }
}

void Partition::on_meta(const Pending& pending, const codec::resp::Value& value) {
    FieldReader in(value.elements[0].text);
    for (std::size_t i = 0; i < pending.wires.size(); ++i) {
        Channel* channel = find(pending.wires[i]);
        if (channel != nullptr && channel->state != Channel::State::live) { channel = nullptr; }
        if (pending.looks[i] != 'l') {
            const std::string_view epoch = in.text();
            const auto version = static_cast<std::uint64_t>(to_number(in.text()));
            const std::int64_t digest = to_number(in.text());
            if (in.ok() && channel != nullptr) { on_members_position(*channel, epoch, version, digest); }
        }
        if (pending.looks[i] != 'm') {
            const std::string_view epoch = in.text();
            const auto offset = static_cast<std::uint64_t>(to_number(in.text()));
            const std::string_view id = in.text();
            if (in.ok() && channel != nullptr) { on_log_look(*channel, epoch, offset, id); }
        }
        if (channel != nullptr) { channel->trim(); }
    }
    start_syncs();
}

void Partition::on_members_position(Channel& channel, std::string_view epoch, std::uint64_t version, std::int64_t digest) {
    const std::uint64_t known = channel.view.version();
    const bool same_epoch = epoch == channel.view.epoch();
    const bool both_empty = epoch.empty() && channel.view.digest() == 0;
    const auto behind = channel.peek_behind().chain;
    // Deltas may be on their way still: what the chain has not reached a moment later is lost.
    const bool ahead = same_epoch && version > known;
    const bool wrong = same_epoch && version == known && digest != channel.view.digest();
    const bool overdue = ahead && behind && known < behind->second && now() - behind->first >= settings_.heartbeat / 2;
    // A position older than the chain is an answer that deltas have overtaken, or data that is gone.
    const bool differs = !same_epoch && !both_empty;
    const bool back = same_epoch && version < known;
    if (differs || back) {
        if (behind && now() - behind->first >= settings_.heartbeat / 2) {
            sync(channel);
        } else if (!behind) {
            channel.passing.need().behind.need().chain = {now(), UINT64_MAX};
            members_looks_.owe();
        }
    } else if (wrong || overdue) {
        sync(channel);
    } else if (ahead) {
        if (!behind || known >= behind->second) { channel.passing.need().behind.need().chain = {now(), version}; }
        members_looks_.owe();
    } else if (behind) {
        channel.passing->behind->chain.reset();
    }
}

void Partition::on_log_look(Channel& channel, std::string_view epoch, std::uint64_t offset, std::string_view id) {
    if (!channel.chain || log_of(channel).size == 0) { return; }
    if (channel.chain.is(epoch, offset, id)) {
        if (channel.peek_behind().log) { channel.passing->behind->log.reset(); }
    } else if (!channel.peek_behind().log) {
        channel.passing.need().behind.need().log = {now(), channel.chain.offset};
        log_looks_.owe();
    } else if (channel.chain.offset == channel.peek_behind().log->second) {
        read_log(channel);                   // The chain has not moved since.
    } else {
        channel.passing->behind->log = {now(), channel.chain.offset};
        log_looks_.owe();
    }
}

void Partition::ask_holders() {
    auto next = unconfirmed_.upper_bound(holders_asked_);
    for (std::size_t rest = std::min(unconfirmed_.size(), kHoldersMax); rest > 0; --rest) {
        if (next == unconfirmed_.end()) { next = unconfirmed_.begin(); }
        const Channel* channel = find(holders_asked_ = *next);
        std::vector<std::string> users = channel == nullptr ? std::vector<std::string>() : channel->view.unconfirmed(kLookMax);
        if (users.empty()) {
            next = unconfirmed_.erase(next);
            continue;
        }
        ++next;
        std::vector<std::string> args{holders_asked_};
        args.insert(args.end(), users.begin(), users.end());
        eval({.kind = Pending::Kind::holders, .wire = holders_asked_, .wires = std::move(users), .call = 0, .read = {}}, scripts::holders(), std::move(args));
    }
}

// An incarnation that has written since the data became doubtful, in its own sequence, has lost nothing: what Redis has
// of it is true. Whoever lost a write begins a new incarnation (OPGAP), and the old one writes no more.
void Partition::on_holders(Channel& channel, const std::vector<std::string>& users, const codec::resp::Value& value) {
    domain::MembersChanged changes;
    for (std::size_t i = 0; i < users.size() && i < value.elements.size(); ++i) {
        for (const auto& iid : value.elements[i].elements) {
            const auto lease = leases_.find(iid.text);
            if (lease == leases_.end() || lease->second.rose <= channel.view.suspected_at()) { continue; }
            channel.view.confirm(users[i], changes);
            break;
        }
    }
    tell_members(channel, std::move(changes));
}

}  // namespace starling::engine

#include "engine/memory.h"

#include <algorithm>

#include "base/apart.h"
#include "base/short_text.h"
#include "base/sorted.h"

namespace starling::engine {

using namespace domain;

namespace {

std::string key_of(const ChannelRef& ref) {
    std::string key;
    key.reserve(ref.name.size() + 2);
    key += static_cast<char>(ref.app & 0xff);
    key += static_cast<char>(ref.app >> 8);
    key += ref.name;
    return key;
}

std::uint64_t hash_of(const ChannelRef& ref) { return hash64(ref.name, hash_seed + ref.app); }

}  // namespace

// The first result for each idempotency key, for as long as it counts.
struct Memory::KeyedResults {
    struct Seen {
        std::string message_id;
        std::optional<Position> position;
    };
    std::map<std::string, Seen, std::less<>> results;
    std::deque<std::pair<Instant, std::string>> expiry;

    void expire(Instant now) {
        while (!expiry.empty() && expiry.front().first <= now) {
            results.erase(expiry.front().second);
            expiry.pop_front();
        }
    }
    void remember(std::string key, Seen seen, Instant until) {
        expiry.emplace_back(until, key);
        results.emplace(std::move(key), std::move(seen));
    }
};

// A member, in little memory: each present connection has one in each of its channels.
struct Memory::Held {
    ShortText user;
    std::int64_t connected_at : 63 = 0;
    bool lingers : 1 = false;
    SharedBytes data;                        // Null: none.
    std::string_view key() const { return user.view(); }
    Member member() const {
        return {std::string(user.view()), connected_at, data ? std::optional(std::string(data.view())) : std::nullopt};
    }
    // Whether that was another one.
    bool set(std::string_view given) {
        if (data && data.view() == given) { return false; }
        data = SharedBytes(given);
        return true;
    }
};

struct Memory::Channel {
    ShortText name;                          // Empty: this place is free.
    std::uint32_t app = 0;
    std::uint32_t slot : 31 = 0;
    bool listening : 1 = false;
    SharedBytes epoch;                       // Of its log, once that was asked for.
    std::unique_ptr<History> log;            // Once something was kept: most channels of users never have one.
    std::uint64_t acknowledged = 0;
    std::unique_ptr<KeyedResults> keys;
    // Who lingers, and until when.
    struct Lingering {
        std::set<std::pair<Instant, std::string>> by_end;
        std::map<std::string, Instant> ends;
    };
    struct Presence {
        Sorted<Held> members;
        Apart<Lingering> lingering;
        void start_lingering(Held& held, Instant until);
        void stop_lingering(Held& held);
    };
    std::unique_ptr<Presence> presence;      // While it has members.
    Instant scheduled = Instant::max();
    ChannelRef ref() const { return {app, std::string(name.view())}; }
    bool is(const ChannelRef& other) const { return app == other.app && name == other.name; }
};

void Memory::Channel::Presence::start_lingering(Held& held, Instant until) {
    held.lingers = true;
    lingering.need().by_end.emplace(until, held.user.view());
    lingering->ends.emplace(held.user.view(), until);
}

void Memory::Channel::Presence::stop_lingering(Held& held) {
    if (!held.lingers) { return; }
    held.lingers = false;
    const auto end = lingering->ends.find(std::string(held.user.view()));
    lingering->by_end.erase({end->second, end->first});
    lingering->ends.erase(end);
    if (lingering->ends.empty()) { lingering.reset(); }
}

Memory::Memory(Duration linger, std::uint64_t seed) : linger_(linger), rng_(seed), epoch_(rng_.word(10)) {}
Memory::~Memory() = default;

void Memory::on_call(EngineCall& call, Now now, Output& out) {
    now_ = now;
    out_ = &out;
    std::visit([this](auto& body) { on(body); }, call);
}

Memory::Channel& Memory::channel(const ChannelRef& ref) {
    const std::uint64_t hash = hash_of(ref);
    if (const auto found = index_.find(hash, [&](std::uint32_t at) { return slots_[at].is(ref); })) { return slots_[*found]; }
    const std::uint32_t slot = slots_.take();
    Channel& channel = slots_[slot];
    channel.name = ShortText(ref.name);
    channel.app = ref.app;
    channel.slot = slot;
    index_.insert(hash, slot);
    if (records_.empty()) { return channel; }
    if (const auto it = records_.find(key_of(ref)); it != records_.end()) {
        channel.epoch = SharedBytes(it->second.top.epoch);
        channel.log = std::make_unique<History>(it->second.top);
        channel.acknowledged = it->second.acknowledged;
        records_.erase(it);
    }
    return channel;
}

// A namespace that keeps nothing any more gives its log up; one that keeps again begins another.
History* Memory::log_of(Channel& channel, const HistoryLimits& limits) {
    if (limits.size == 0) {
        if (channel.log) {
            channel.log.reset();
            channel.epoch = SharedBytes();
            epoch_ = rng_.word(10);
        }
        return nullptr;
    }
    if (!channel.epoch) {
        if (first_epoch_.view() != epoch_) { first_epoch_ = SharedBytes(epoch_); }
        channel.epoch = first_epoch_;
    }
    if (channel.log) { channel.log->on_deadline(now_.instant); }
    return channel.log.get();
}

Position Memory::top_of(const Channel& channel) const {
    return channel.log ? channel.log->top() : Position{std::string(channel.epoch.view()), 0, ""};
}

void Memory::settle(Channel& channel) {
    if (channel.keys) {
        channel.keys->expire(now_.instant);
        if (channel.keys->expiry.empty()) { channel.keys.reset(); }
    }
    if (channel.log) { channel.log->on_deadline(now_.instant); }
    if (!channel.listening && !channel.keys && !channel.presence && (!channel.log || channel.log->empty())) {
        forget(channel);
        return;
    }
    Instant next = Instant::max();
    if (channel.keys) { next = std::min(next, channel.keys->expiry.front().first); }
    if (channel.log) { next = std::min(next, channel.log->next_deadline().value_or(Instant::max())); }
    if (channel.presence && channel.presence->lingering) { next = std::min(next, channel.presence->lingering->by_end.begin()->first); }
    if (next < channel.scheduled) {
        channel.scheduled = next;
        due_.push({next, channel.slot});
    }
}

void Memory::forget(Channel& channel) {
    if (channel.log) {
        const Instant until = now_.instant + kRememberPositions;
        records_[key_of(channel.ref())] = {channel.log->top(), channel.acknowledged, until};
        records_due_.emplace_back(until, key_of(channel.ref()));
    }
    const std::uint32_t slot = channel.slot;
    index_.erase(hash_of(channel.ref()), slot);
    channel = Channel{};
    slots_.give_back(slot);
}

std::optional<Instant> Memory::next_deadline() const {
    Instant next = Instant::max();
    if (!due_.empty()) { next = due_.top().at; }
    if (!records_due_.empty()) { next = std::min(next, records_due_.front().first); }
    if (next == Instant::max()) { return std::nullopt; }
    return next;
}

void Memory::on_deadline(Now now, Output& out) {
    now_ = now;
    out_ = &out;
    while (!due_.empty() && due_.top().at <= now.instant) {
        const Due due = due_.top();
        due_.pop();
        if (slots_[due.slot].name.empty() || due.at < slots_[due.slot].scheduled) { continue; }   // Of an earlier channel here.
        Channel& channel = slots_[due.slot];
        channel.scheduled = Instant::max();
        MembersChanged changed;
        while (channel.presence && channel.presence->lingering && channel.presence->lingering->by_end.begin()->first <= now.instant) {
            changed.leaves.push_back(channel.presence->lingering->by_end.begin()->second);
            remove(channel, changed.leaves.back());
            ++leaves_.timeout;
        }
        if (!changed.leaves.empty() && channel.listening) {
            changed.channel = channel.ref();
            out.events.emplace_back(std::move(changed));
        }
        settle(channel);
    }
    while (!records_due_.empty() && records_due_.front().first <= now.instant) {
        const auto it = records_.find(records_due_.front().second);
        if (it != records_.end() && it->second.until <= now.instant) {
            records_.erase(it);
            epoch_ = rng_.word(10);
        }
        records_due_.pop_front();
    }
}

void Memory::on(Listen& call) {
    Channel& channel = this->channel(call.channel);
    channel.listening = true;
    log_of(channel, call.log);
    Listening listening{.channel = channel.ref()};
    if (call.log.size > 0) { listening.top = top_of(channel); }
    out_->events.emplace_back(std::move(listening));
    MembersChanged members{.channel = channel.ref()};
    if (channel.presence) {
        for (const Held& held : channel.presence->members) { members.joins.push_back(held.member()); }
    }
    out_->events.emplace_back(std::move(members));
    settle(channel);
}

void Memory::on(Unlisten& call) {
    Channel& channel = this->channel(call.channel);
    channel.listening = false;
    settle(channel);
}

void Memory::on(Publish& call) {
    Channel& channel = this->channel(call.channel);
    codec::backend::PublishResult result{.message_id = call.message.id};
    if (call.key && channel.keys) {
        channel.keys->expire(now_.instant);
        if (const auto it = channel.keys->results.find(*call.key); it != channel.keys->results.end()) {
            result = {it->second.message_id, it->second.position, true, {}};
            out_->events.emplace_back(Published{call.call, std::move(result)});
            return;
        }
    }
    History* log = log_of(channel, call.log);
    if (call.log.size > 0) {
        if (log == nullptr) {
            channel.log = std::make_unique<History>(std::string(channel.epoch.view()));
            log = channel.log.get();
        }
        const Message& kept = log->append(std::move(call.message), call.log, now_.instant);
        result.position = log->top();
        if (channel.listening) { out_->events.emplace_back(Delivered{channel.ref(), kept, std::move(call.except)}); }
    } else if (channel.listening) {
        out_->events.emplace_back(Delivered{channel.ref(), std::move(call.message), std::move(call.except)});
    }
    if (call.key) {
        if (!channel.keys) { channel.keys = std::make_unique<KeyedResults>(); }
        channel.keys->remember(std::move(*call.key), {result.message_id, result.position}, now_.instant + call.key_ttl);
    }
    out_->events.emplace_back(Published{call.call, std::move(result)});
    settle(channel);
}

void Memory::on(Read& call) {
    Channel& channel = this->channel(call.channel);
    ReadAnswer answer{.call = call.call, .result = ReadResult{}};
    const History* kept = log_of(channel, call.log);
    if (call.log.size > 0) {
        const History fresh(std::string(channel.epoch.view()));
        const History* log = kept != nullptr ? kept : &fresh;
        auto messages = call.recover ? log->recover(call.since.value_or(Position{}), call.messages_max, call.bytes_max)
                                     : log->page({.since = std::move(call.since),
                                                  .limit = call.limit,
                                                  .reverse = call.reverse,
                                                  .bytes_max = call.bytes_max});
        if (messages) {
            answer.result = ReadResult{std::move(*messages), log->top(), channel.acknowledged};
        } else {
            answer.result = std::unexpected(
                ReadAnswer::Refused{messages.error(), log->top(), channel.acknowledged, log->first_offset()});
        }
    }
    out_->events.emplace_back(std::move(answer));
    settle(channel);
}

void Memory::on(Erase& call) {
    Channel& channel = this->channel(call.channel);
    if (channel.log || channel.listening) {
        channel.epoch = SharedBytes(rng_.word(10));
        channel.log = std::make_unique<History>(std::string(channel.epoch.view()));
        channel.keys.reset();
        if (channel.listening) { out_->events.emplace_back(Broken{channel.ref(), channel.log->top()}); }
    }
    out_->events.emplace_back(Erased{call.call, {}});
    settle(channel);
}

void Memory::on(Acknowledge& call) {
    Channel& channel = this->channel(call.channel);
    const std::uint64_t newest = channel.log ? channel.log->top().offset : 0;
    if (call.offset <= newest && call.offset > channel.acknowledged) {
        channel.acknowledged = call.offset;
        if (channel.listening) {
            out_->events.emplace_back(AcknowledgedElsewhere{channel.ref(), call.offset, std::move(call.except)});
        }
    }
    out_->events.emplace_back(Acknowledged{call.call, newest, {}});
    settle(channel);
}

void Memory::on(Enter& call) {
    Channel& channel = this->channel(call.channel);
    MembersChanged changed{.channel = channel.ref()};
    if (!channel.presence) { channel.presence = std::make_unique<Channel::Presence>(); }
    Held fresh;
    fresh.user = ShortText(call.user_id);
    const auto [held, is_new] = channel.presence->members.add(std::move(fresh));
    if (is_new) {
        held->connected_at = now_.wall_ms;
        const auto& data = call.data ? call.data : call.fallback;
        if (data) { held->set(*data); }
        changed.joins.push_back(held->member());
        ++members_;
    } else {
        channel.presence->stop_lingering(*held);
        if (call.data && held->set(*call.data)) { changed.updates.push_back(held->member()); }
    }
    const bool told = !changed.joins.empty() || !changed.updates.empty();
    if (told && channel.listening) { out_->events.emplace_back(std::move(changed)); }
    out_->events.emplace_back(Entered{channel.ref(), std::move(call.user_id)});
}

void Memory::remove(Channel& channel, const std::string& user) {
    Channel::Presence& presence = *channel.presence;
    presence.stop_lingering(*presence.members.find(user));
    presence.members.erase(user);
    if (presence.members.empty()) { channel.presence.reset(); }
    --members_;
}

Memory::Held* Memory::held_of(Channel& channel, const std::string& user) {
    return channel.presence ? channel.presence->members.find(user) : nullptr;
}

void Memory::on(Exit& call) {
    Channel& channel = this->channel(call.channel);
    Held* held = held_of(channel, call.user_id);
    if (held != nullptr) {
        if (call.how == Departure::clean || linger_ == 0s) {
            remove(channel, call.user_id);
            ++(call.how == Departure::clean ? leaves_.clean : leaves_.timeout);
            MembersChanged changed{.channel = channel.ref()};
            changed.leaves.push_back(std::move(call.user_id));
            if (channel.listening) { out_->events.emplace_back(std::move(changed)); }
        } else if (!held->lingers) {
            channel.presence->start_lingering(*held, now_.instant + linger_);
        }
    }
    settle(channel);
}

void Memory::on(Update& call) {
    Channel& channel = this->channel(call.channel);
    Held* held = held_of(channel, call.user_id);
    if (held != nullptr && held->set(call.data)) {
        MembersChanged changed{.channel = channel.ref()};
        changed.updates.push_back(held->member());
        if (channel.listening) { out_->events.emplace_back(std::move(changed)); }
    }
    settle(channel);
}

}  // namespace starling::engine

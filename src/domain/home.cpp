// The home of a channel: what happens in it gets its order here and goes to every shard that listens.

#include "domain/state.h"

namespace starling::domain {

void KeyCache::expire(Instant now) {
    while (!expiry.empty() && expiry.front().first <= now) {
        results.erase(expiry.front().second);
        expiry.pop_front();
    }
}

void KeyCache::remember(std::string key, Seen seen, Instant until) {
    results.emplace(key, std::move(seen));
    expiry.emplace_back(until, std::move(key));
}

PresenceLimits Shard::State::presence_limits() const {
    return {settings->linger, settings->list_limit, settings->count_interval};
}

HomeChannel* Shard::State::find_home(const ChannelRef& ref) {
    const auto it = home_index.find(key_of(ref.app, ref.name));
    return it == home_index.end() ? nullptr : homes[it->second].get();
}

HomeChannel& Shard::State::home(const ChannelRef& ref) {
    std::string key = key_of(ref.app, ref.name);
    if (const auto it = home_index.find(key); it != home_index.end()) { return *homes[it->second]; }
    std::uint32_t index = 0;
    if (free_homes.empty()) {
        index = static_cast<std::uint32_t>(homes.size());
        homes.emplace_back();
    } else {
        index = free_homes.back();
        free_homes.pop_back();
    }
    homes[index] = std::make_unique<HomeChannel>();
    HomeChannel& channel = *homes[index];
    channel.ref = ref;
    channel.key = key;
    channel.listeners.resize(self.count);
    const NamespaceSettings& rules = space(ref);
    if (rules.history_size > 0 && rules.conflate == 0s) { channel.history.emplace(first_epoch); }
    home_index.emplace(std::move(key), index);
    return channel;
}

void Shard::State::settle(HomeChannel& channel) {
    if (channel.presence.due(now.instant)) { tell_presence(channel); }
    std::optional<Instant> next = channel.presence.next_deadline();
    const auto consider = [&next](std::optional<Instant> other) {
        if (other && (!next || *other < *next)) { next = other; }
    };
    consider(channel.typing.next_deadline());
    consider(channel.conflation.next_deadline());
    if (channel.history) { consider(channel.history->next_deadline()); }
    channel.keys.expire(now.instant);
    if (!channel.keys.expiry.empty()) { consider(channel.keys.expiry.front().first); }
    const std::uint32_t index = home_index.find(channel.key)->second;
    if (next) {
        if (*next < channel.scheduled) {
            channel.scheduled = *next;
            deadlines.push({*next, Due::Kind::home, {index, 0}});
        }
        return;
    }
    const bool listened = std::find(channel.listeners.begin(), channel.listeners.end(), true) != channel.listeners.end();
    // A log that has counted must go on counting, so a channel that had messages is remembered.
    const bool remembered = channel.restarted || (channel.history && channel.history->top().offset > 0);
    if (listened || remembered || channel.presence.count() > 0 || !channel.conflation.empty()) { return; }
    home_index.erase(channel.key);
    homes[index].reset();
    free_homes.push_back(index);
}

void Shard::State::deliver(HomeChannel& channel, DeliverMail mail_in) {
    mail_in.channel = channel.ref;
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel.listeners[shard]) { mail(shard, DeliverMail(mail_in)); }
    }
}

void Shard::State::tell_presence(HomeChannel& channel) {
    const PresenceTold told = channel.presence.tell(now.instant, presence_limits());
    const std::string& name = channel.ref.name;
    PresenceMail frames{.channel = channel.ref};
    frames.oldest = told.oldest;
    bool any = false;
    for (const auto& group : told.groups) {
        const auto& diff = group.diff;
        const bool changed = !diff.joins.empty() || !diff.updates.empty() || !diff.leaves.empty();
        frames.groups.push_back({group.since, changed ? shared(native::encode_presence(name, diff)) : SharedBytes()});
        any = any || changed;
    }
    if (told.count_to_lists) { frames.to_lists = shared(native::encode_presence_count(name, told.count)); }
    if (told.list) {
        frames.to_lists = shared(native::encode_presence_list(
            {}, name, {.count = told.count, .users = channel.presence.members()}, false));
    }
    if (told.count_to_counters) { frames.to_counters = shared(native::encode_presence_count(name, told.count)); }
    if (!any && !frames.to_lists && !frames.to_counters) { return; }
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel.listeners[shard]) { mail(shard, PresenceMail(frames)); }
    }
}

void Shard::State::tell_typing(HomeChannel& channel, const std::vector<TypingChange>& changes) {
    for (const auto& change : changes) {
        deliver(channel, {.text = shared(native::encode_typing(channel.ref.name, change.user_id, change.active)),
                          .except_user = change.user_id});
    }
}

void Shard::State::tell_conflated(HomeChannel& channel, const std::vector<Conflation::Item>& items) {
    const bool droppable = space(channel.ref).slow_consumer == SlowConsumer::latest;
    for (const auto& item : items) {
        deliver(channel, {.text = shared(native::encode_message(channel.ref.name, item.message)),
                          .except = item.except,
                          .droppable = droppable});
    }
}

void Shard::State::on(SubscribeMail& join) {
    HomeChannel& channel = home(join.channel);
    const NamespaceSettings& rules = space(channel.ref);
    if (join.present) {
        channel.presence.on_enter(join.user_id, join.session, std::move(join.data), std::move(join.fallback), now,
                                  presence_limits());
        // Told to the others before the newcomer is one of them: it never hears of its own join.
        if (channel.presence.due(now.instant)) { tell_presence(channel); }
    }
    native::Subscribed frame;
    frame.id = join.request;
    frame.channel = channel.ref.name;
    if (channel.history) { channel.history->on_deadline(now.instant); }
    if (channel.history && join.history) { frame.position = channel.history->top(); }
    if (join.recover) {
        std::expected<std::vector<Message>, RecoverFailure> missed = std::unexpected(RecoverFailure::gap);
        if (channel.history) {
            missed = channel.history->recover(*join.recover, settings->recover_messages, settings->recover_bytes);
        }
        frame.recovered = missed.has_value();
        if (missed) {
            frame.messages = std::move(*missed);
            ++counters.recoveries_true;
        } else {
            frame.reason = name(missed.error());
            ++counters.recoveries_false;
        }
    }
    if (rules.conflate > 0s) { frame.messages = channel.conflation.latest(); }
    JoinedMail joined{.session = join.session.id, .tag = join.tag, .watch = join.watch};
    if (join.watch == Watch::members) {
        joined.presence_point = channel.presence.snapshot_point();
        native::PresenceSummary summary{.count = channel.presence.count(), .users = {}};
        if (channel.presence.listed()) { summary.users = channel.presence.members(); }
        frame.presence = std::move(summary);
    } else if (join.watch == Watch::count) {
        frame.presence = native::PresenceSummary{.count = channel.presence.count(), .users = {}};
    }
    frame.typing = channel.typing.users_except(join.user_id);
    if (join.told) { joined.text = shared(native::encode(frame)); }
    channel.listeners[join.session.shard] = true;
    mail(join.session.shard, std::move(joined));
    settle(channel);
}

void Shard::State::on(UnsubscribeMail& leave) {
    HomeChannel* channel = find_home(leave.channel);
    if (channel != nullptr) {
        if (leave.present) {
            channel->presence.on_exit(leave.user_id, leave.session, leave.ending.departure, now, presence_limits());
        }
        std::vector<TypingChange> changes;
        channel->typing.on_gone(leave.user_id, leave.session, changes);
        tell_typing(*channel, changes);
    }
    if (!leave.gone) {
        PartedMail parted{.session = leave.session.id, .tag = leave.tag, .text = {}};
        if (leave.ending.told) {
            parted.text = shared(native::encode_unsubscribed(leave.ending.request, leave.channel.name,
                                                             leave.ending.code, leave.ending.reason));
        }
        // Before what the others hear: nothing of the channel comes after its `unsubscribed`.
        mail(leave.session.shard, std::move(parted));
    }
    if (channel != nullptr) { settle(*channel); }
}

std::expected<backend::PublishResult, Error> Shard::State::publish(HomeChannel& channel, PublishMail& mail_in) {
    channel.keys.expire(now.instant);
    std::string key;
    if (mail_in.key) {
        key = mail_in.key_owner + '\0' + *mail_in.key;
        if (const auto it = channel.keys.results.find(key); it != channel.keys.results.end()) {
            return backend::PublishResult{it->second.message_id, it->second.position, true, {}};
        }
    }
    std::vector<TypingChange> changes;
    if (!mail_in.message.user_id.empty()) { channel.typing.on_stop(mail_in.message.user_id, changes); }
    tell_typing(channel, changes);
    const NamespaceSettings& rules = space(channel.ref);
    backend::PublishResult result{.message_id = mail_in.message.id, .position = {}, .duplicate = false, .devices = {}};
    if (rules.conflate > 0s) {
        std::vector<Conflation::Item> items;
        channel.conflation.on_publish({std::move(mail_in.message), mail_in.except}, rules.conflate, now.instant, items);
        tell_conflated(channel, items);
    } else {
        // `conflateKey` belongs to the message only where the channel conflates.
        mail_in.message.conflate_key.reset();
        DeliverMail out_mail{.except = mail_in.except, .accepted = mail_in.accepted, .droppable = rules.slow_consumer == SlowConsumer::latest};
        if (channel.history) {
            channel.history->on_deadline(now.instant);
            const Message& kept = channel.history->append(std::move(mail_in.message),
                                                          {rules.history_size, rules.history_ttl}, now.instant);
            result.position = channel.history->top();
            out_mail.text = shared(native::encode_message(channel.ref.name, kept));
            // The offset goes to the one left out too, so that its positions stay consecutive.
            if (mail_in.except) {
                out_mail.except_text = shared(native::encode_message_without_data(channel.ref.name, kept));
            }
        } else {
            out_mail.text = shared(native::encode_message(channel.ref.name, mail_in.message));
        }
        deliver(channel, std::move(out_mail));
    }
    if (mail_in.key) {
        channel.keys.remember(std::move(key), {result.message_id, result.position}, now.instant + settings->key_ttl);
    }
    return result;
}

void Shard::State::on(PublishMail& publication) {
    HomeChannel& channel = home(publication.channel);
    auto result = publish(channel, publication);
    if (publication.session && publication.request && result) {
        mail(publication.session->shard,
             ReplyMail{publication.session->id,
                       shared(native::encode_published(publication.request, publication.channel.name,
                                                       result->message_id, result->position, result->duplicate))});
    }
    if (publication.token != 0) {
        mail(publication.token_shard, PublishAnswerMail{publication.token, publication.part, std::move(result)});
    }
    settle(channel);
}

void Shard::State::on(TypingMail& typing) {
    HomeChannel& channel = home(typing.channel);
    std::vector<TypingChange> changes;
    if (typing.active) {
        channel.typing.on_start(typing.user_id, typing.session, settings->typing_timeout, now.instant, changes);
    } else {
        channel.typing.on_stop(typing.user_id, changes);
    }
    if (typing.session && typing.request) {
        mail(typing.session->shard, ReplyMail{typing.session->id, shared(native::encode_ok(typing.request))});
    }
    tell_typing(channel, changes);
    settle(channel);
}

void Shard::State::on(PresenceUpdateMail& update) {
    HomeChannel& channel = home(update.channel);
    const bool here = channel.presence.on_update(update.user_id, std::move(update.data), now, presence_limits());
    std::string text;
    if (!here) {
        text = native::encode_error(update.request, {ErrorCode::not_present, "channel: this connection is not present"},
                                    update.channel.name);
    } else if (update.request) {
        text = native::encode_ok(update.request);
    }
    if (!text.empty()) { mail(update.session.shard, ReplyMail{update.session.id, shared(text)}); }
    settle(channel);
}

void Shard::State::on(ReadMail& read) {
    HomeChannel& channel = home(read.channel);
    std::string text;
    if (!read.history) {
        native::PresenceSummary summary{.count = channel.presence.count(), .users = {}};
        if (channel.presence.listed()) { summary.users = channel.presence.members(); }
        text = native::encode_presence_list(read.request, read.channel.name, summary, false);
    } else if (!channel.history) {
        text = native::encode_history(read.request, read.channel.name, {}, {});
    } else {
        channel.history->on_deadline(now.instant);
        const auto page = channel.history->page({.since = std::move(read.history->since),
                                                 .limit = read.history->limit,
                                                 .reverse = read.history->reverse,
                                                 .bytes_max = settings->recover_bytes});
        if (page) {
            text = native::encode_history(read.request, read.channel.name, channel.history->top(), *page);
        } else {
            text = native::encode_error(read.request,
                                        {ErrorCode::unrecoverable, "since: the log does not continue this position (" +
                                                                       std::string(name(page.error())) + ")"},
                                        read.channel.name);
        }
    }
    mail(read.session.shard, ReplyMail{read.session.id, shared(text)});
    settle(channel);
}

void Shard::State::on(ListenMail& listen) {
    HomeChannel* channel = find_home(listen.channel);
    if (channel == nullptr) { return; }
    channel->listeners[listen.shard] = false;
    settle(*channel);
}

// History gone, a new epoch: every subscriber is told and subscribes afresh; presence lingers meanwhile.
void Shard::State::delete_history(const ChannelRef& ref) {
    if (space(ref).history_size == 0) { return; }
    HomeChannel& channel = home(ref);
    if (!channel.history) { return; }
    channel.history->restart(rng.word(10));
    channel.restarted = true;
    channel.keys = KeyCache{};
    const SharedBytes text = shared(native::encode_unsubscribed({}, ref.name, "unrecoverable", "the history was deleted"));
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (channel.listeners[shard]) { mail(shard, EndAllMail{ref, text}); }
    }
    std::vector<TypingChange> changes;
    for (const auto& user : channel.typing.users_except({})) { channel.typing.on_stop(user, changes); }
    for (const Member& member : channel.presence.members()) {
        for (const SessionRef holder : channel.presence.holders_of(member.user_id)) {
            channel.presence.on_exit(member.user_id, holder, Departure::broken, now, presence_limits());
        }
    }
    settle(channel);
}

}  // namespace starling::domain

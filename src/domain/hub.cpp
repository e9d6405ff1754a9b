// The hub: who on this shard listens to what, and what homes send to them.

#include "domain/state.h"

namespace starling::domain {

std::optional<std::uint32_t> Shard::State::find_hub(const ChannelRef& ref) const {
    return hub_index.find(name_hash(ref.app, ref.name), [&](std::uint32_t slot) { return hub[slot].is(ref); });
}

std::uint32_t Shard::State::hub_channel(const ChannelRef& ref) {
    if (const auto found = find_hub(ref)) { return *found; }
    const std::uint32_t index = hub.take();
    hub[index].name = ShortText(ref.name);
    hub[index].app = ref.app;
    hub[index].partition = partition_of(ref, settings->partitions);
    hub_index.insert(name_hash(ref.app, ref.name), index);
    return index;
}

// One subscription less. With the last one the home is told not to send here any more; a subscribe
// that follows takes the same queue, so the home never forgets a shard that listens again.
void Shard::State::release_hub(std::uint32_t index) {
    HubChannel& channel = hub[index];
    CHECK(channel.references > 0);
    if (--channel.references > 0) { return; }
    const ChannelRef ref = channel.ref();
    mail(home_of(ref), ListenMail{ref, self.index});
    hub_index.erase(name_hash(ref.app, ref.name), index);
    channel = HubChannel{};
    hub.give_back(index);
}

void Shard::State::remove_entry(Subscription& subscription) {
    if (!subscription.joined) { return; }
    subscription.joined = false;
    auto& entries = hub[subscription.hub].entries;
    const std::uint32_t index = subscription.entry;
    if (index + 1 != entries.size()) {
        entries[index] = entries.back();
        Session* moved = find(entries[index].session);
        CHECK(moved != nullptr);
        for (auto& other : moved->subscriptions) {
            if (other.tag == entries[index].tag) { other.entry = index; }
        }
    }
    entries.pop_back();
}

void Shard::State::drop_subscription(Session& session, std::uint32_t tag) {
    for (std::size_t i = 0; i < session.subscriptions.size(); ++i) {
        if (session.subscriptions[i].tag != tag) { continue; }
        if (!session.subscriptions[i].joined) { --session.more.need().joins; }
        remove_entry(session.subscriptions[i]);
        session.forget_end(tag);
        const std::uint32_t index = session.subscriptions[i].hub;
        session.subscriptions.erase(session.subscriptions.begin() + i);
        release_hub(index);
        return;
    }
}

void Shard::State::on(JoinedMail& mail) {
    Session* session = find(mail.session);
    if (session == nullptr) { return; }
    for (auto& subscription : session->subscriptions) {
        if (subscription.tag != mail.tag) { continue; }
        auto& entries = hub[subscription.hub].entries;
        subscription.entry = static_cast<std::uint32_t>(entries.size());
        subscription.joined = true;
        --session->more.need().joins;
        if (subscription.status == Subscription::Status::pending) {
            subscription.status = Subscription::Status::active;
        }
        // Not doubled, and the first alone: most stay as small as they are.
        if (entries.size() == entries.capacity()) { entries.reserve(entries.size() + 1 + entries.size() / 2); }
        HubEntry& entry = entries.emplace_back();
        entry.session = mail.session;
        entry.tag = mail.tag;
        entry.watch = mail.watch;
        entry.joined_at = HubEntry::mark_of(mail.presence_point);
        if (mail.text) { send(mail.session, mail.text, false); }
        pace(*session);
        session->trim();
        return;
    }
}

void Shard::State::on(PartedMail& mail) {
    Session* session = find(mail.session);
    if (session == nullptr) { return; }
    drop_subscription(*session, mail.tag);
    if (mail.text) { send(mail.session, mail.text, false); }
    pace(*session);
    session->trim();
}

void Shard::State::on(ReplyMail& mail) {
    Session* session = find(mail.session);
    if (session == nullptr) { return; }
    send(mail.session, mail.text, false);
    if (!mail.read) { return; }
    --session->more.need().reads;
    pace(*session);
    session->trim();
}

void Shard::State::on(DirectMail& mail) {
    if (find(mail.session) != nullptr) { send(mail.session, mail.text); }
}

void Shard::State::on(DeliverMail& mail) {
    const auto found = find_hub(mail.channel);
    if (!found) { return; }
    const HubChannel& channel = hub[*found];
    const std::uint32_t droppable = mail.droppable ? *found + 1 : 0;
    Fanout fanout{.sessions = {}, .text = mail.text, .channel = droppable};
    fanout.sessions.reserve(channel.entries.size());
    const bool excepts = mail.except && mail.except->shard == self.index;
    for (const HubEntry& entry : channel.entries) {
        if (excepts && entry.session == mail.except->id) {
            if (mail.except_text) { out->push_back(Send{entry.session, mail.except_text, true, droppable}); }
            continue;
        }
        if (!mail.except_user.empty() && find(entry.session)->user.view() == mail.except_user) { continue; }
        fanout.sessions.push_back(entry.session);
    }
    counters.sent += fanout.sessions.size();
    if (mail.accepted != Instant{}) { counters.publish_to_delivery.observe(now.instant - mail.accepted); }
    if (!fanout.sessions.empty()) { out->push_back(std::move(fanout)); }
}

void Shard::State::on(PresenceMail& mail) {
    const auto found = find_hub(mail.channel);
    if (!found) { return; }
    counters.join_to_seen.observe(now.instant - mail.oldest);
    std::vector<Fanout> fans(mail.groups.size());
    Fanout lists;
    Fanout counters_fan;
    for (HubEntry& entry : hub[*found].entries) {
        if (entry.watch == Watch::none) { continue; }
        if (entry.watch == Watch::count) {
            if (mail.to_counters) { counters_fan.sessions.push_back(entry.session); }
            continue;
        }
        const std::uint32_t joined_at = entry.joined_at;
        if (joined_at != 0) { entry.joined_at = 0; }
        if (mail.to_lists) {
            lists.sessions.push_back(entry.session);
            continue;
        }
        // The group of the entry's snapshot: the first one for those that are older than all of these changes.
        std::size_t group = joined_at == 0 ? std::min<std::size_t>(1, fans.size()) : fans.size();
        while (group > 1 && HubEntry::mark_of(mail.groups[group - 1].since) != joined_at) { --group; }
        if (group > 0 && mail.groups[group - 1].text) { fans[group - 1].sessions.push_back(entry.session); }
    }
    const auto push = [this](Fanout& fan, SharedBytes text) {
        if (fan.sessions.empty()) { return; }
        counters.sent += fan.sessions.size();
        fan.text = std::move(text);
        out->push_back(std::move(fan));
    };
    for (std::size_t i = 0; i < fans.size(); ++i) { push(fans[i], mail.groups[i].text); }
    push(lists, mail.to_lists);
    push(counters_fan, mail.to_counters);
}

void Shard::State::on(EndAllMail& mail) {
    const auto found = find_hub(mail.channel);
    if (!found) { return; }
    // Only those that have joined: a pending subscription belongs to the new epoch.
    const std::vector<HubEntry> entries = hub[*found].entries;
    for (const HubEntry& entry : entries) {
        Session* session = find(entry.session);
        drop_subscription(*session, entry.tag);
        send(entry.session, mail.text);
    }
}

void Shard::State::on(UserFrameMail& mail) {
    for (auto slot = newest_of(mail.app, mail.user_id).value_or(kNoSlot); slot != kNoSlot; slot = sessions[slot].next_of_user) {
        const SessionId id = id_of(sessions[slot]);
        if (mail.except && mail.except->shard == self.index && mail.except->id == id) { continue; }
        send(id, mail.text);
        ++counters.sent;
    }
}

}  // namespace starling::domain

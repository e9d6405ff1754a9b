// The home of a user: its connections on all shards of this node, and its notifications, which are the channel
// "@" + user id.

#include "domain/state.h"

namespace starling::domain {

UserHome* Shard::State::find_user(const ChannelRef& ref) {
    if (!ref.name.starts_with('@')) { return nullptr; }
    const auto found = find_user_slot(ref);
    return found ? &user_homes[*found] : nullptr;
}

std::optional<std::uint32_t> Shard::State::find_user_slot(const ChannelRef& ref) const {
    return user_home_index.find(name_hash(ref.app, ref.name), [&](std::uint32_t slot) { return user_homes[slot].is(ref); });
}

UserHome& Shard::State::user_home(const ChannelRef& ref) {
    if (const auto found = find_user_slot(ref)) { return user_homes[*found]; }
    const std::uint32_t slot = user_homes.take();
    user_homes[slot].name = ShortText(ref.name);
    user_homes[slot].app = ref.app;
    user_home_index.insert(name_hash(ref.app, ref.name), slot);
    return user_homes[slot];
}

// With the last connection the user's channel is left, once it is known to be listened to.
void Shard::State::let_go(const ChannelRef& ref) {
    const auto slot = ref.name.starts_with('@') ? find_user_slot(ref) : std::nullopt;
    if (!slot) { return; }
    UserHome& home = user_homes[*slot];
    if (!home.sessions.empty() || home.attaching || home.hearing == Hearing::asked) { return; }
    tell_engine(Unlisten{ref});
    user_home_index.erase(name_hash(ref.app, ref.name), *slot);
    user_homes.give_back(*slot);
    home = UserHome{};
}

void Shard::State::on(AttachMail& attach_mail) {
    ChannelRef ref = user_ref(attach_mail.app, attach_mail.user_id);
    UserHome& home = user_home(ref);
    UserHome::Attaching& attaching = home.attaching.need().emplace_back();
    attaching.mail = std::move(attach_mail);
    if (full(home, attaching)) {
        refuse_attaching(home, attaching.mail.session);
        return;
    }
    if (home.hearing == Hearing::off) {
        home.partition = partition_of(ref, settings->partitions);
        home.hearing = Hearing::asked;
        tell_engine(Listen{std::move(ref), notification_limits()});
    }
    ask_elsewhere(home, attaching);
    if (home.hearing == Hearing::ready && !attaching.asking) { read_for(home, attaching); }
}

// With a position: all after it. Without one, or where the log does not continue it: what is kept after the
// acknowledged offset, found by paging back.
void Shard::State::read_for(UserHome& home, UserHome::Attaching& attaching) {
    const auto& position = attaching.mail.notifications;
    Read call{.channel = home.ref(), .recover = position.has_value() && !attaching.refused};
    if (call.recover) { call.since = position; }
    call.limit = settings->notifications_size;
    call.reverse = !call.recover;
    call.messages_max = settings->notifications_size;
    call.bytes_max = settings->recover_bytes;
    call.log = notification_limits();
    call.call = attaching.read = expect(home.ref(), AttachCall{attaching.mail.session});
    tell_engine(std::move(call));
}

namespace {

// The newest kept, newest first, become what is missing after the acknowledged one.
native::NotificationState unread(ReadResult& page) {
    native::NotificationState state;
    state.position = page.top.value_or(Position{});
    std::uint64_t next = state.position.offset + 1;
    for (Message& message : page.messages) {
        if (message.offset <= page.acknowledged) { break; }
        next = message.offset;
        state.messages.push_back(std::move(message));
    }
    std::reverse(state.messages.begin(), state.messages.end());
    state.recovered = next <= page.acknowledged + 1;
    return state;
}

}  // namespace

void Shard::State::on_attach_read(UserHome& home, SessionRef session, ReadAnswer& answer) {
    if (!home.attaching) { return; }
    const auto it = std::find_if(home.attaching->begin(), home.attaching->end(), [&](const UserHome::Attaching& attaching) {
        return attaching.mail.session == session && attaching.read == answer.call;
    });
    if (it == home.attaching->end()) { return; }
    AttachedMail attached{.session = session.id, .refused = {}, .notifications = {}};
    if (answer.result && it->mail.notifications && !it->refused) {
        attached.notifications.position = answer.result->top.value_or(Position{});
        attached.notifications.messages = std::move(answer.result->messages);
    } else if (answer.result) {
        attached.notifications = unread(*answer.result);
        if (it->refused) { attached.notifications.recovered = false; }
    } else if (std::holds_alternative<RecoverFailure>(answer.result.error().why) && !it->refused) {
        it->refused = true;
        read_for(home, *it);
        return;
    } else {
        // The engine is out of reach: the client is connected all the same and told the rest when it is back.
        home.stale = true;
        attached.notifications.position = home.top.get();
        attached.notifications.recovered = false;
    }
    drop_attaching(home, session);
    home.sessions.push_back(session);
    mail(session.shard, std::move(attached));
}

void Shard::State::on_user_listening(UserHome& home, Listening& event) {
    home.top.set(event.top, last_epoch);
    home.stale = event.stale;
    if (home.hearing != Hearing::asked) { return; }
    home.hearing = Hearing::ready;
    if (home.attaching) {
        for (auto& attaching : *home.attaching) {
            if (!attaching.asking) { read_for(home, attaching); }
        }
    }
    let_go(event.channel);
}

void Shard::State::on(DetachMail& detach) {
    const ChannelRef ref = user_ref(detach.app, detach.user_id);
    UserHome* home = find_user(ref);
    if (home == nullptr) { return; }
    home->sessions.erase_if([&](const SessionRef& session) { return session == detach.session; });
    drop_attaching(*home, detach.session);
    let_go(ref);
}

void Shard::State::drop_attaching(UserHome& home, SessionRef session) {
    if (!home.attaching) { return; }
    std::erase_if(*home.attaching, [&](const UserHome::Attaching& attaching) { return attaching.mail.session == session; });
    if (home.attaching->empty()) { home.attaching.reset(); }
}

void Shard::State::tell_user(UserHome& home, SharedBytes text, std::optional<SessionRef> except) {
    std::vector<bool> shards(self.count);
    for (const SessionRef& session : home.sessions) { shards[session.shard] = true; }
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (shards[shard]) { mail(shard, UserFrameMail{home.app, std::string(home.user_id()), text, except}); }
    }
}

void Shard::State::on_notification(UserHome& home, Delivered& event) {
    if (home.hearing != Hearing::ready) { return; }
    home.top.advance(event.message.offset, event.message.id);
    // What comes while the log is read anew is in that answer.
    if (home.renewal != 0) { return; }
    tell_user(home, shared(native::encode_notification(event.message)), {});
}

// The position began anew: the connections that are there are told what is unread.
void Shard::State::renew(UserHome& home) {
    if (home.sessions.empty()) { return; }
    Read call{.channel = home.ref()};
    call.limit = settings->notifications_size;
    call.reverse = true;
    call.bytes_max = settings->recover_bytes;
    call.log = notification_limits();
    call.call = home.renewal = expect(home.ref(), RenewCall{});
    tell_engine(std::move(call));
}

void Shard::State::on_user_broken(UserHome& home, Broken& event) {
    home.top.set(event.top, last_epoch);
    renew(home);
}

void Shard::State::on_renewal_read(UserHome& home, CallId call, ReadAnswer& answer) {
    if (home.renewal != call) { return; }
    home.renewal = 0;
    native::NotificationState state;
    if (answer.result) {
        home.top.set(answer.result->top, last_epoch);
        state = unread(*answer.result);
    } else {
        home.stale = true;                   // Read again when the engine is back.
        state.position = home.top.get();
    }
    state.recovered = false;
    tell_user(home, shared(native::encode_notifications(state)), {});
}

void Shard::State::on(AckMail& ack) {
    ChannelRef ref = user_ref(ack.app, ack.user_id);
    Acknowledge call{.channel = ref, .offset = ack.offset, .except = connection_id(ack.session)};
    call.call = expect(std::move(ref), AckCall{ack.session, ack.request, ack.offset});
    tell_engine(std::move(call));
}

void Shard::State::on(Acknowledged& event) {
    const auto call = take_call(event.call);
    const auto* ack = call ? std::get_if<AckCall>(&call->what) : nullptr;
    if (ack == nullptr) { return; }
    std::string text;
    if (event.error) {
        text = native::encode_error(ack->request, *event.error);
    } else if (ack->offset > event.newest) {
        text = native::encode_error(ack->request, {ErrorCode::bad_request, "offset: " + std::to_string(ack->offset) +
                                                                               " is past the newest, " +
                                                                               std::to_string(event.newest)});
    } else if (ack->request) {
        text = native::encode_ok(ack->request);
    }
    if (!text.empty()) { mail(ack->session.shard, ReplyMail{ack->session.id, shared(text)}); }
}

void Shard::State::on(AcknowledgedElsewhere& event) {
    UserHome* home = find_user(event.channel);
    if (home == nullptr) { return; }
    tell_user(*home, shared(native::encode_notification_acked(event.offset)), parse_connection_id(event.except));
}

void Shard::State::on(NotifyMail& notify) {
    ChannelRef ref = user_ref(notify.app, notify.user_id);
    Publish call{.channel = ref, .message = std::move(notify.message), .key = std::move(notify.key)};
    call.log = notification_limits();
    call.key_ttl = settings->key_ttl;
    call.call = expect(std::move(ref), PublishCall{.token = notify.token, .token_shard = notify.token_shard,
                                                   .part = notify.part});
    tell_engine(std::move(call));
}

}  // namespace starling::domain

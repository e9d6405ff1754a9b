// Messages at the channel's home: out to the engine, and back in its order to those who listen.

#include "domain/state.h"

namespace starling::domain {

namespace {

constexpr std::size_t kEndedTypingMax = 64;  // A message that is never delivered is forgotten.

}  // namespace

void Shard::State::on(PublishMail& publication) {
    const bool conflates = space(publication.channel).conflate > 0s;
    if (!publication.session && !conflates) {
        publish(publication);
        return;
    }
    HomeChannel& channel = home(publication.channel);
    if (const auto session = publication.session) {
        take(channel, *session, std::move(publication));
    } else {
        run(channel, publication);
    }
    settle(channel);
}

void Shard::State::run(HomeChannel& channel, PublishMail& publication) {
    if (publication.session) { ++channel.lane(*publication.session).publishes; }
    // The latest of each key is kept for newcomers, also where nobody listens yet.
    if (space(channel.ref).conflate > 0s) { listen(channel); }
    publish(publication);
}

void Shard::State::publish(PublishMail& publication) {
    Publish call;
    call.log = log_limits(publication.channel);
    call.key_ttl = settings->key_ttl;
    call.message = std::move(publication.message);
    // `conflateKey` belongs to the message only where the channel conflates.
    if (space(publication.channel).conflate == 0s) { call.message.conflate_key.reset(); }
    if (publication.key) { call.key = publication.key_owner + '\0' + *publication.key; }
    call.except = std::move(publication.except);
    call.channel = publication.channel;
    call.call = expect(std::move(publication.channel),
                       PublishCall{publication.session, publication.request, publication.token, publication.token_shard,
                                   publication.part, call.message.user_id});
    tell_engine(std::move(call));
}

// The answer can be here before the message itself. What the user types from now on comes after that message, so
// the message must not end it.
void Shard::State::end_typing(HomeChannel& channel, const std::string& user, const std::string& message) {
    std::vector<TypingChange> changes;
    channel.typing.on_stop(user, changes);
    if (changes.empty()) { return; }
    tell_typing(channel, changes);
    auto& messages = channel.passing.need().ended_typing;
    if (messages.size() >= kEndedTypingMax) { messages.erase(messages.begin()); }
    messages.push_back(message);
}

void Shard::State::on(Published& event) {
    const auto call = take_call(event.call);
    const auto* asked = call ? std::get_if<PublishCall>(&call->what) : nullptr;
    if (asked == nullptr) { return; }
    auto& result = event.result;
    if (call->channel.name.starts_with('@') && result) {
        const UserHome* user = find_user(call->channel);
        result->devices = user != nullptr && !result->duplicate ? user->sessions.size() : 0;
    }
    HomeChannel* channel = asked->session || !asked->user_id.empty() ? find_home(call->channel) : nullptr;
    if (channel != nullptr && result && !result->duplicate) { end_typing(*channel, asked->user_id, result->message_id); }
    if (asked->token != 0) {
        mail(asked->token_shard, PublishAnswerMail{asked->token, asked->part, std::move(result)});
        return;
    }
    if (!asked->session) { return; }
    std::string text;
    if (!result) {
        text = native::encode_error(asked->request, result.error(), call->channel.name);
    } else if (asked->request) {
        text = native::encode_published(asked->request, call->channel.name, result->message_id, result->position,
                                        result->duplicate);
    }
    if (!text.empty()) { mail(asked->session->shard, ReplyMail{asked->session->id, shared(text)}); }
    if (channel == nullptr) { return; }
    if (Lane* lane = channel->find_lane(*asked->session)) {
        if (lane->publishes > 0) { --lane->publishes; }
        advance(*channel, *asked->session);
    }
    settle(*channel);
}

void Shard::State::on(Delivered& event) {
    if (UserHome* user = find_user(event.channel)) {
        on_notification(*user, event);
        return;
    }
    HomeChannel* found = find_home(event.channel);
    if (found == nullptr || found->hearing == Hearing::off) { return; }
    HomeChannel& channel = *found;
    Message& message = event.message;
    const bool told = channel.passing && std::erase(channel.passing->ended_typing, message.id) > 0;
    if (!told && !message.user_id.empty()) {
        std::vector<TypingChange> changes;
        channel.typing.on_stop(message.user_id, changes);
        tell_typing(channel, changes);
    }
    if (message.offset != 0) { channel.top.advance(message.offset, message.id); }
    const NamespaceSettings& rules = space(channel.ref);
    std::optional<SessionRef> except;
    if (!event.except.empty()) { except = parse_connection_id(event.except); }
    if (rules.conflate > 0s) {
        std::vector<Conflation::Item> items;
        channel.leave_at = Instant::max();
        channel.conflation.on_publish({std::move(message), except}, rules.conflate, settings->recover_bytes, now.instant, items);
        tell_conflated(channel, items);
    } else {
        DeliverMail out_mail{.except = except, .droppable = rules.slow_consumer == SlowConsumer::latest};
        out_mail.accepted = now.instant - std::max<std::int64_t>(now.wall_ms - message.time, 0) * 1ms;
        out_mail.text = shared(native::encode_message(channel.ref.name, message));
        // The offset goes to the one left out too, so that its positions stay consecutive.
        if (except && message.offset != 0) {
            out_mail.except_text = shared(native::encode_message_without_data(channel.ref.name, message));
        }
        deliver(channel, std::move(out_mail));
    }
    settle(channel);
}

void Shard::State::tell_conflated(HomeChannel& channel, const std::vector<Conflation::Item>& items) {
    const bool droppable = space(channel.ref).slow_consumer == SlowConsumer::latest;
    for (const auto& item : items) {
        deliver(channel, {.text = shared(native::encode_message(channel.ref.name, item.message)),
                          .except = item.except,
                          .droppable = droppable});
    }
}

// From plain Redis PUBLISH: no id, no offset, no place in any order.
void Shard::State::on(Ingress& event) {
    if (!event.connection_id.empty()) {
        if (const auto session = parse_connection_id(event.connection_id)) {
            mail(session->shard, DirectMail{session->id, shared(native::encode_direct(event.data))});
        }
        return;
    }
    const std::uint32_t target = home_of(event.channel);
    mail(target, IngressMail{std::move(event.channel), std::move(event.data)});
}

void Shard::State::on(IngressMail& ingress) {
    HomeChannel* channel = find_home(ingress.channel);
    if (channel == nullptr) { return; }
    Message message;
    message.data = std::move(ingress.data);
    message.time = now.wall_ms;
    deliver(*channel, {.text = shared(native::encode_message(channel->ref.name, message)), .accepted = now.instant,
                       .droppable = space(channel->ref).slow_consumer == SlowConsumer::latest});
}

}  // namespace starling::domain

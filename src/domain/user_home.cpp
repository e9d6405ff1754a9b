// The home of a user: its connections on all shards, its notifications and how far they are read.

#include "domain/state.h"

namespace starling::domain {

UserHome& Shard::State::user_home(std::uint32_t app, const std::string& user) {
    UserHome& home = user_homes[key_of(app, user)];
    if (home.user_id.empty()) { home.user_id = user; }
    if (home.log) { home.log->on_deadline(now.instant); }
    return home;
}

// A user with nothing to remember costs nothing: the first epoch is the shard's.
void Shard::State::let_go(std::uint32_t app, const std::string& user) {
    const auto it = user_homes.find(key_of(app, user));
    if (it != user_homes.end() && it->second.sessions.empty() && !it->second.log) { user_homes.erase(it); }
}

void Shard::State::on(AttachMail& attach_mail) {
    UserHome& home = user_home(attach_mail.app, attach_mail.user_id);
    AttachedMail answer{.session = attach_mail.session.id, .refused = {}, .notifications = {}};
    const std::uint32_t limit = settings->connections_per_user;
    if (limit != 0 && home.sessions.size() >= limit) {
        answer.refused = Error{ErrorCode::limit_exceeded, "user: connections_per_user is " + std::to_string(limit)};
        mail(attach_mail.session.shard, std::move(answer));
        return;
    }
    home.sessions.push_back(attach_mail.session);
    auto& state = answer.notifications;
    state.position = home.log ? home.log->top() : Position{first_epoch, 0, ""};
    std::expected<std::vector<Message>, RecoverFailure> missed = std::unexpected(RecoverFailure::epoch);
    if (home.log && attach_mail.notifications) {
        missed = home.log->recover(*attach_mail.notifications, SIZE_MAX, settings->recover_bytes);
    } else if (!home.log && (!attach_mail.notifications || *attach_mail.notifications == state.position)) {
        missed = std::vector<Message>{};
    }
    state.recovered = missed.has_value();
    if (missed) {
        state.messages = std::move(*missed);
    } else if (home.log) {
        // Without a position that the log continues: what is kept after the acknowledged one, the newest
        // where that is more than one answer may hold.
        const std::uint64_t first = home.log->top().offset + 1 - home.log->messages().size();
        const bool asked = attach_mail.notifications.has_value();
        state.recovered = !asked && first <= home.acknowledged + 1;
        std::size_t bytes = 0;
        for (auto it = home.log->messages().rbegin(); it != home.log->messages().rend(); ++it) {
            if (it->offset <= home.acknowledged) { break; }
            bytes += it->data.size() + 128;
            if (bytes > settings->recover_bytes) {
                state.recovered = false;
                break;
            }
            state.messages.push_back(*it);
        }
        std::reverse(state.messages.begin(), state.messages.end());
    }
    mail(attach_mail.session.shard, std::move(answer));
}

void Shard::State::on(DetachMail& detach) {
    const auto it = user_homes.find(key_of(detach.app, detach.user_id));
    if (it == user_homes.end()) { return; }
    std::erase(it.value().sessions, detach.session);
    let_go(detach.app, detach.user_id);
}

void Shard::State::tell_user(UserHome& home, std::uint32_t app, SharedBytes text, std::optional<SessionRef> except) {
    std::vector<bool> shards(self.count);
    for (const SessionRef& session : home.sessions) { shards[session.shard] = true; }
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (shards[shard]) { mail(shard, UserFrameMail{app, home.user_id, text, except}); }
    }
}

void Shard::State::on(AckMail& ack) {
    UserHome& home = user_home(ack.app, ack.user_id);
    const std::uint64_t newest = home.log ? home.log->top().offset : 0;
    std::string answer;
    if (ack.offset > newest) {
        answer = native::encode_error(ack.request, {ErrorCode::bad_request, "offset: " + std::to_string(ack.offset) +
                                                                                " is past the newest, " +
                                                                                std::to_string(newest)});
    } else {
        if (ack.request) { answer = native::encode_ok(ack.request); }
        if (ack.offset > home.acknowledged) {
            home.acknowledged = ack.offset;
            tell_user(home, ack.app, shared(native::encode_notification_acked(ack.offset)), ack.session);
        }
    }
    if (!answer.empty()) { mail(ack.session.shard, ReplyMail{ack.session.id, shared(answer)}); }
}

void Shard::State::on(NotifyMail& notify) {
    UserHome& home = user_home(notify.app, notify.user_id);
    home.keys.expire(now.instant);
    backend::PublishResult result{.message_id = notify.message.id, .position = {}, .duplicate = false, .devices = 0};
    const auto seen = notify.key ? home.keys.results.find(*notify.key) : home.keys.results.end();
    if (seen != home.keys.results.end()) {
        result = {seen->second.message_id, seen->second.position, true, 0};
    } else {
        if (!home.log) { home.log.emplace(first_epoch); }
        const Message& kept =
            home.log->append(std::move(notify.message),
                             {settings->notifications_size, settings->notifications_ttl}, now.instant);
        result.position = home.log->top();
        result.devices = home.sessions.size();
        tell_user(home, notify.app, shared(native::encode_notification(kept)), {});
        if (notify.key) {
            home.keys.remember(*notify.key, {result.message_id, result.position}, now.instant + settings->key_ttl);
        }
    }
    mail(notify.token_shard, PublishAnswerMail{notify.token, notify.part, std::move(result)});
}

}  // namespace starling::domain

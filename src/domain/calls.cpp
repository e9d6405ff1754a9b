// The engine's answers: each call is answered exactly once, and what was kept says to whom it goes.

#include "domain/state.h"

namespace starling::domain {

void Shard::on_engine(EngineEvent& event, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    std::visit([&s](auto& body) { s.on(body); }, event);
}

std::optional<PendingCall> Shard::State::take_call(CallId id) {
    const auto it = calls.find(id);
    if (it == calls.end()) { return std::nullopt; }
    PendingCall call = std::move(it.value());
    calls.erase(it);
    return call;
}

namespace {

Error page_error(const ReadAnswer::Refused& refused) {
    if (const auto* error = std::get_if<Error>(&refused.why)) { return *error; }
    return {ErrorCode::unrecoverable, "since: the log does not continue this position (" +
                                          std::string(name(std::get<RecoverFailure>(refused.why))) + ")"};
}

}  // namespace

void Shard::State::on(ReadAnswer& event) {
    const auto call = take_call(event.call);
    if (!call) { return; }
    if (const auto* attach_call = std::get_if<AttachCall>(&call->what)) {
        if (UserHome* user = find_user(call->channel)) { on_attach_read(*user, attach_call->session, event); }
        return;
    }
    if (std::holds_alternative<RenewCall>(call->what)) {
        if (UserHome* user = find_user(call->channel)) { on_renewal_read(*user, event.call, event); }
        return;
    }
    if (const auto* read = std::get_if<BackendReadCall>(&call->what)) {
        AnswerMail answer{.token = read->token};
        answer.reply = event.result ? backend::Reply{200, backend::encode_history(event.result->top, event.result->messages)}
                                    : backend::error_reply(page_error(event.result.error()));
        mail(read->from, std::move(answer));
        return;
    }
    HomeChannel* channel = find_home(call->channel);
    if (const auto* join = std::get_if<JoinCall>(&call->what)) {
        if (channel != nullptr) { on_join_read(*channel, join->session, event); }
    } else if (const auto* history = std::get_if<HistoryCall>(&call->what)) {
        const std::string& name = call->channel.name;
        const std::string text =
            event.result ? native::encode_history(history->request, name, event.result->top, event.result->messages)
                         : native::encode_error(history->request, page_error(event.result.error()), name);
        mail(history->session.shard, ReplyMail{history->session.id, shared(text), true});
        if (channel != nullptr) { done(*channel, history->session); }
    }
    if (channel != nullptr) { settle(*channel); }
}

void Shard::State::on(Erased& event) {
    const auto call = take_call(event.call);
    const auto* erase = call ? std::get_if<EraseCall>(&call->what) : nullptr;
    if (erase == nullptr) { return; }
    AnswerMail answer{.token = erase->token};
    answer.reply = event.error ? backend::error_reply(*event.error) : backend::Reply{204, ""};
    mail(erase->from, std::move(answer));
}

}  // namespace starling::domain

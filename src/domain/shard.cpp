#include "domain/shard.h"

#include <algorithm>
#include <utility>

#include "domain/state.h"

namespace starling::domain {

std::uint64_t name_hash(std::uint32_t app, std::string_view name) { return hash64(name, hash_seed + app); }

SharedBytes shared(const std::string& text) { return SharedBytes(ByteView(text)); }

Shard::State::State(ShardIdentity identity_in, std::shared_ptr<const Settings> settings_in, Now now_in)
    : self(std::move(identity_in)), settings(std::move(settings_in)), rng(self.seed), now(now_in),
      started(now_in.instant) {
    CHECK(self.count <= kShardsMax);
    unreachable.resize(settings->partitions);
}

Shard::Shard(ShardIdentity identity, std::shared_ptr<const Settings> settings, Now now)
    : state_(std::make_unique<State>(std::move(identity), std::move(settings), now)) {}
Shard::~Shard() = default;

void Shard::State::send(SessionId session, SharedBytes text, bool counts) {
    out->push_back(Send{session, std::move(text), counts});
}

void Shard::State::reply(SessionId session, const std::string& text) { send(session, shared(text), false); }

std::uint32_t Shard::State::home_of(const ChannelRef& ref) const {
    return partition_of(ref, settings->partitions) % self.count;
}

std::uint32_t Shard::State::home_of_user(std::uint32_t app, std::string_view user) const {
    return home_of(user_ref(app, user));
}

const NamespaceSettings& Shard::State::space(const ChannelRef& ref) const {
    return settings->apps[ref.app].find_namespace(ref.name);
}

SessionId Shard::State::id_of(const Session& session) const { return {session.slot, session.generation}; }

SessionRef Shard::State::ref_of(const Session& session) const { return {self.index, id_of(session)}; }

Session* Shard::State::find(SessionId id) {
    if (id.slot >= sessions.size()) { return nullptr; }
    Session& session = sessions[id.slot];
    return session.used && session.generation == id.generation ? &session : nullptr;
}

void Shard::State::wake_session(const Session& session, Instant at) {
    deadlines.push({at, Due::Kind::session, id_of(session)});
}

void Shard::on_mail(Mail& mail, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    std::visit([&s](auto& body) { s.on(body); }, mail.body);
}

void Shard::on_settings(std::shared_ptr<const Settings> settings, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    s.settings = std::move(settings);
    for (auto& session : s.sessions) {
        if (!session.used) { continue; }
        // protocol.md section 10: 4003 is for who may not connect any more after a reload.
        if (s.settings->apps[session.app].removed) {
            s.refuse(session, {ErrorCode::forbidden, "app: is no longer served here"}, close_code::forbidden);
        } else if (session.state == Session::State::open) {
            s.recheck(session);
        }
    }
    // A namespace that keeps history from now on begins its log; one that no longer does ends it.
    for (auto& channel : s.homes) {
        if (!channel || channel->hearing == Hearing::off) { continue; }
        const HistoryLimits log = s.log_limits(channel->ref);
        if (log == channel->log) { continue; }
        channel->log = log;
        s.tell_engine(Listen{channel->ref, log});
    }
}

void Shard::on_drain(Duration window, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    if (!std::exchange(s.draining, true)) { s.tell_engine(Retire{}); }
    std::uint64_t index = 0;
    for (auto& session : s.sessions) {
        if (!session.used) { continue; }
        // Stratified: each session has its own slice of the window, and chance inside it.
        const Duration slice = window / static_cast<std::int64_t>(std::max<std::uint64_t>(s.session_count, 1));
        const Duration chance = slice > 0ns ? Duration(static_cast<std::int64_t>(s.rng.below(slice.count()))) : 0ns;
        const Duration delay = slice * static_cast<std::int64_t>(index++) + chance;
        s.send(s.id_of(session), shared(native::encode_reconnect(delay / 1ms)), false);
        session.more.need().drain_close = now.instant + delay + 1s;
        s.wake_session(session, *session.more.peek().drain_close);
    }
}

void Shard::on_shed(Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    for (auto& session : s.sessions) {
        if (session.used) { s.close(session, close_code::engine_away, "the engine is out of reach"); }
    }
}

std::optional<Instant> Shard::next_deadline() const {
    std::optional<Instant> next;
    if (!state_->deadlines.empty()) { next = state_->deadlines.top().at; }
    if (!state_->opened.empty()) {
        const Instant at = state_->opened.front().first + state_->settings->connect_timeout;
        next = next ? std::min(*next, at) : at;
    }
    if (const auto at = state_->ended.next_deadline()) { next = next ? std::min(*next, *at) : at; }
    return next;
}

void Shard::on_deadline(Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    while (!s.opened.empty() && s.opened.front().first + s.settings->connect_timeout <= now.instant) {
        Session* session = s.find(s.opened.front().second);
        if (session != nullptr && session->state == Session::State::fresh) { s.on_session_deadline(*session); }
        s.opened.pop_front();
    }
    s.ended.on_deadline(now.instant);
    while (!s.deadlines.empty() && s.deadlines.top().at <= now.instant) {
        const State::Due due = s.deadlines.top();
        s.deadlines.pop();
        if (due.kind == State::Due::Kind::session) {
            if (Session* session = s.find(due.id)) { s.on_session_deadline(*session); }
        } else if (due.kind == State::Due::Kind::consultation) {
            s.conclude(std::uint64_t{due.id.slot} << 32 | due.id.generation);
        } else if (due.kind == State::Due::Kind::proof) {
            s.on_proof_deadline();
        } else if (due.id.slot < s.homes.size() && s.homes[due.id.slot]) {
            HomeChannel& channel = *s.homes[due.id.slot];
            if (due.at >= channel.scheduled) { s.on_home_deadline(channel); }   // Else of an earlier channel here.
        }
    }
}

bool Shard::idle() const { return state_->session_count == 0; }

ShardStats Shard::stats() const {
    ShardStats stats = state_->counters;
    stats.connections = state_->session_count;
    stats.channels = state_->home_index.size();
    for (const auto& channel : state_->homes) {
        if (channel) { stats.presence_members += channel->view.count(); }
    }
    stats.unreachable_partitions =
        static_cast<std::uint64_t>(std::count(state_->unreachable.begin(), state_->unreachable.end(), true));
    return stats;
}

}  // namespace starling::domain

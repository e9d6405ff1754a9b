#include "server/shard_loop.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "server/engine_factory.h"
#include "server/peer.h"
#include "server/proxy.h"

namespace starling::server {

namespace {

constexpr Duration kHttpIdle = 60s;          // A connection between two requests.
constexpr std::uint32_t kRefusalsTold = 100; // A second and loop; of the rest the count.
constexpr Duration kStrangers = 3ms;         // Of a turn, while others wait.
constexpr Duration kLastAnswer = 1s;         // For the peer to take it and to close too.
constexpr Duration kEngineSlow = 2s;         // To be found first, before the log says that it is missed.

Instant read_instant() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }

Now read_clocks() {
    return {read_instant(),
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

}  // namespace

bool AddressCounts::try_add(const std::string& address, std::uint64_t limit) {
    const std::lock_guard lock(mutex_);
    auto& count = counts_[address];
    if (count >= limit) { return false; }
    ++count;
    return true;
}

void AddressCounts::remove(const std::string& address) {
    const std::lock_guard lock(mutex_);
    const auto it = counts_.find(address);
    if (it != counts_.end() && --it->second == 0) { counts_.erase(it); }
}

Shared::Shared(std::size_t shards) {
    for (std::size_t i = 0; i < shards; ++i) { mailboxes.push_back(std::make_unique<net::Mailbox<Post>>()); }
}

ShardLoop::ShardLoop(domain::ShardIdentity identity, std::shared_ptr<const Runtime> runtime, Shared& shared)
    : identity_(std::move(identity)), runtime_(std::move(runtime)), shared_(shared), now_(read_clocks()),
      shard_(identity_, runtime_->settings, now_), engine_(make_engine(*runtime_, identity_)),
      frames_(std::make_unique<Frames>()) {
    if (runtime_->config.engine.type == "redis") { driver_.emplace(transport_, *engine_, runtime_->redis_tls); }
    transport_.watch(shared_.mailboxes[identity_.index]->event());
}

ShardLoop::~ShardLoop() = default;

ShardLoop::Peer* ShardLoop::find(net::ConnectionId id) {
    return id.slot < peers_.size() && peers_[id.slot].id == id ? &peers_[id.slot] : nullptr;
}

ShardLoop::Peer* ShardLoop::peer_of(domain::SessionId session) {
    if (session.slot >= sessions_.size() || sessions_[session.slot].first != session.generation) { return nullptr; }
    Peer* peer = find(sessions_[session.slot].second);
    return peer != nullptr && peer->session == session ? peer : nullptr;
}

void ShardLoop::schedule(Peer& peer, Instant at) {
    if (at >= peer.timer) { return; }
    peer.timer = at;
    timers_.push({at, peer.id});
}

void ShardLoop::on_timer(Peer& peer) {
    const Instant now = now_.instant;
    const Duration interval = runtime_->settings->ping_interval;
    if (peer.kind == Peer::Kind::closing) {
        transport_.close_after_flush(peer.id, 0s, now);
        return;
    }
    if (peer.kind == Peer::Kind::http) {
        // The whole request has a deadline, however its bytes drip; an idle connection has a longer one.
        const Instant until = peer.more.peek().parser && !peer.stalled ? peer.more.peek().deadline : peer.last_received + kHttpIdle;
        if (!peer.waits && now >= until) {
            peer.keep_alive = false;
            if (peer.more.peek().parser && !peer.stalled) { respond_error(peer, 408, {ErrorCode::timeout, "the request did not come in time"}); }
            peer.kind = Peer::Kind::closing;
            transport_.close_after_flush(peer.id, kLastAnswer, now);
            return;
        }
        schedule(peer, std::max(peer.waits ? now + 1s : now + 1ms, until));
        return;
    }
    // What it says while it has to wait for us is not read: silence counts from when it is.
    if (peer.waits) { peer.last_received = now; }
    if (now >= peer.last_received + interval + 10s) {
        end_session(peer, close_code::no_pong);
        close_websocket(peer, close_code::no_pong, "nothing came for too long");
        return;
    }
    if (now >= peer.next_ping) {
        send_control(peer, codec::websocket::encode_frame(codec::websocket::Opcode::ping, {}));
        peer.next_ping = now + interval;
    }
    schedule(peer, std::min(peer.next_ping, peer.last_received + interval + 10s));
}

void ShardLoop::on_event(const net::Event& event) {
    if (event.kind == net::Event::Kind::woken) { return; }
    if (driver_ && driver_->on_event(event, now_, output_.events)) {
        take_output();
        perform();
        return;
    }
    const net::ConnectionId id = event.connection;
    if (event.kind == net::Event::Kind::accepted) {
        if (peers_.size() <= id.slot) { peers_.resize(id.slot + 1); }
        Peer& peer = peers_[id.slot];
        peer = Peer{};
        peer.id = id;
        peer.admin = event.listener == kAdmin;
        const auto& proxies = runtime_->config.server.trusted_proxies;
        if (!peer.admin && !proxies.empty() && is_trusted(transport_.peer_address(id), proxies)) {
            transport_.expect_proxy_header(id);
        }
        peer.last_received = now_.instant;
        begin_request(peer);
        return;
    }
    if (event.kind == net::Event::Kind::closed) {
        forget(id);
        perform();
        return;
    }
    Peer* peer = find(id);
    if (peer == nullptr) { return; }
    const std::span<char> bytes = transport_.read(id);
    if (bytes.empty()) { return; }
    peer->last_received = now_.instant;
    if (std::exchange(peer->probed, false) && peer->session) { shard_.on_alive(*peer->session, now_, effects_); }
    if (peer->kind == Peer::Kind::http) {
        on_http(*peer, {bytes.data(), bytes.size()});
    } else if (peer->kind != Peer::Kind::closing || peer->close_code != 0) {
        on_websocket(*peer, bytes);
    }
    perform();
}

void ShardLoop::forget(net::ConnectionId id) {
    Peer* peer = find(id);
    if (peer == nullptr) { return; }
    if (peer->session) { ++counters_.closed[close_code::abnormal]; }
    end_session(*peer, close_code::abnormal);
    if (peer->counted) { shared_.addresses.remove(counted_network(peer->more.peek().address)); }
    // Everything but an HTTP connection has been a WebSocket, unless it was refused on the way.
    if (peer->next_ping != Instant{}) { --websockets_; }
    *peer = Peer{};
}

void ShardLoop::log_refusal(const Peer& peer, std::string_view what, std::int64_t code, std::string_view reason) {
    if (now_.instant >= refusals_since_ + 1s) {
        if (refusals_untold_ != 0) { log::warning("refused_untold", {{"count", refusals_untold_}}); }
        refusals_since_ = now_.instant;
        refusals_told_ = refusals_untold_ = 0;
    }
    if (refusals_told_ == kRefusalsTold) {
        ++refusals_untold_;
        return;
    }
    ++refusals_told_;
    const std::string& address = peer.more.peek().address;
    log::info(what, {{"address", address.empty() ? transport_.peer_address(peer.id) : address}, {"code", code}, {"reason", reason}});
}

void ShardLoop::on_post(Post& post) {
    if (auto* mail = std::get_if<std::unique_ptr<domain::Mail>>(&post)) {
        shard_.on_mail(**mail, now_, effects_);
    } else if (auto* settings = std::get_if<SettingsPost>(&post)) {
        runtime_ = std::move(settings->runtime);
        transport_.set_tls(kPublic, runtime_->tls);
        shard_.on_settings(runtime_->settings, now_, effects_);
        engine_->on_linger(runtime_->settings->linger);
        std::vector<std::string> apps;
        for (const auto& app : runtime_->settings->apps) { apps.push_back(app.id); }
        engine_->on_apps(std::move(apps));
    } else if (auto* drain = std::get_if<DrainPost>(&post)) {
        drained_ = true;
        shard_.on_drain(drain->window, now_, effects_);
    } else if (std::holds_alternative<StopPost>(post)) {
        stopped_ = true;
    } else if (auto* ask = std::get_if<StatsAsk>(&post)) {
        shared_.mailboxes[ask->from]->send(StatsAnswer{ask->token, stats()});
    } else if (auto* answer = std::get_if<StatsAnswer>(&post)) {
        const auto it = stats_gathering_.find(answer->token);
        if (it == stats_gathering_.end()) { return; }
        it->second.answers.push_back(std::move(answer->stats));
        if (it->second.answers.size() < shared_.mailboxes.size()) { return; }
        if (Peer* peer = find(it->second.connection)) {
            respond(*peer, 200, metrics_text(it->second.answers), "text/plain; version=0.0.4; charset=utf-8");
            hold(*peer, false);
        }
        stats_gathering_.erase(it);
    } else if (auto* authorized = std::get_if<AuthorizeAnswer>(&post)) {
        shard_.on_authorized(authorized->session, authorized->ticket, authorized->allow, std::move(authorized->data), now_,
                             effects_);
    }
    perform();
}

void ShardLoop::perform() {
    if (performing_) { return; }             // The outer call takes what was added.
    performing_ = true;
    domain::Effects batch;
    while (!effects_.empty()) {
        batch.swap(effects_);
        for (auto& effect : batch) { perform(effect); }
        batch.clear();
    }
    performing_ = false;
}

void ShardLoop::perform(domain::Effect& effect) {
    if (auto* fanout = std::get_if<domain::Fanout>(&effect)) {
        for (const domain::SessionId session : fanout->sessions) { send_text(session, fanout->text, true, fanout->channel); }
    } else if (auto* one = std::get_if<domain::Send>(&effect)) {
        send_text(one->session, one->text, one->counts, one->channel);
    } else if (auto* mail = std::get_if<domain::MailTo>(&effect)) {
        if (mail->shard == identity_.index) {
            shard_.on_mail(*mail->mail, now_, effects_);
        } else {
            shared_.mailboxes[mail->shard]->send(std::move(mail->mail));
        }
    } else if (auto* ask = std::get_if<domain::AskEngine>(&effect)) {
        engine_->on_call(*ask->call, now_, output_);
        take_output();
    } else if (auto* probe = std::get_if<domain::Probe>(&effect)) {
        if (Peer* peer = peer_of(probe->session)) {
            peer->probed = true;
            send_control(*peer, codec::websocket::encode_frame(codec::websocket::Opcode::ping, {}));
        }
    } else if (auto* close = std::get_if<domain::Close>(&effect)) {
        if (close->code == close_code::unauthenticated && runtime_->keys) { runtime_->keys->on_unknown_key(); }
        if (Peer* peer = peer_of(close->session)) {
            peer->session.reset();           // The domain has forgotten it already.
            close_websocket(*peer, close->code, close->reason);
        }
    } else if (auto* held = std::get_if<domain::HoldInput>(&effect)) {
        if (Peer* peer = peer_of(held->session)) {
            if (!held->hold) { peer->served = true; }
            hold(*peer, held->hold);
        }
    } else if (auto* reply = std::get_if<domain::BackendReply>(&effect)) {
        on_backend_reply(reply->token, std::move(reply->reply));
    } else if (auto* authorize = std::get_if<domain::AuthorizeRequest>(&effect)) {
        auto* mailbox = shared_.mailboxes[identity_.index].get();
        shared_.authorize.ask(std::move(authorize->url), std::move(authorize->body),
                              {authorize->session, authorize->ticket, false, {}},
                              [mailbox](AuthorizeAnswer answer) { mailbox->send(std::move(answer)); });
    }
}

void ShardLoop::take_output() {
    if (driver_) { driver_->perform(output_); }
    for (auto& event : output_.events) { shard_.on_engine(event, now_, effects_); }
    output_.events.clear();
}

void ShardLoop::watch_engine() {
    for (const std::string& finding : engine_->take_findings()) { log::warning("redis", {{"finding", finding}}); }
    if (const auto why = engine_->fatal(); why && !shared_.failed.exchange(true)) {
        log::error("cannot go on", {{"reason", *why}});
        ::kill(::getpid(), SIGTERM);
    }
    const Duration shed_after = runtime_->config.cluster.shed_after_ms * 1ms;
    if (shed_after > 0s && engine_->away(now_) > shed_after) { shard_.on_shed(now_, effects_); }
    const bool ready = engine_->ready(now_);
    // Who has just begun is not ready, and that is no fault yet.
    if (!ready && !engine_missed_ && (engine_found_ || engine_->away(now_) > kEngineSlow)) {
        engine_missed_ = true;
        log::warning("engine out of reach", {{"shard", identity_.index}});
    }
    if (ready == engine_ready_) { return; }
    engine_ready_ = ready;
    shared_.unready_engines.fetch_add(ready ? -1U : 1U, std::memory_order_relaxed);
    if (ready) {
        engine_found_ = true;
        engine_missed_ = false;
        log::info("engine reachable", {{"shard", identity_.index}});
    }
}

LoopStats ShardLoop::stats() {
    LoopStats out = counters_;
    out.domain = shard_.stats();
    out.leaves = engine_->leaves();
    out.ingress_dropped = engine_->ingress_dropped();
    for (const auto& peer : peers_) {
        if (peer.id.generation != 0) { out.queue_bytes += transport_.queued_bytes(peer.id); }
    }
    counters_.loop_delay_seconds = 0;
    return out;
}

// Whoever is served comes first. Strangers get a share of the turn: a burst of tokens that are costly to refuse, or
// of TLS handshakes, is worked off in small pieces. What is not read now stays readable, the next in line first.
void ShardLoop::feed(bool crowded) {
    strangers_.clear();
    for (const net::Event& event : events_) {
        if (event.kind != net::Event::Kind::readable) {
            on_event(event);
            continue;
        }
        // Redis is read all the same: a link that is not would be taken for dead.
        const bool ours = driver_ && driver_->owns(event.connection);
        const Peer* peer = find(event.connection);
        if (!ours && crowded) { continue; }
        if (ours || (peer != nullptr && (peer->served || peer->admin))) {
            on_event(event);
        } else {
            strangers_.push_back(event);
        }
    }
    const Instant until = read_instant() + kStrangers;
    for (const net::Event& event : strangers_) {
        on_event(event);
        if (read_instant() >= until) { return; }
    }
}

void ShardLoop::run() {
    const bool ring = runtime_->config.server.io_uring != "off" && transport_.use_send_ring();
    if (identity_.index == 0) { log::info("sending to many", {{"by", ring ? "io_uring" : "send"}}); }
    engine_->start(now_, output_);
    take_output();
    watch_engine();
    perform();
    while (!stopped_) {
        // Somebody cannot keep up with what we send: read nothing new until they have.
        const bool crowded = std::any_of(shared_.mailboxes.begin(), shared_.mailboxes.end(),
                                         [](const auto& mailbox) { return mailbox->crowded(); });
        Instant until = now_.instant + 1s;
        if (const auto next = shard_.next_deadline()) { until = std::min(until, *next); }
        if (const auto next = engine_->next_deadline()) { until = std::min(until, *next); }
        if (!timers_.empty()) { until = std::min(until, timers_.top().at); }
        // Whoever has room again is no event of the kernel's.
        if (std::ranges::any_of(stalled_, [this](net::ConnectionId id) { return has_room(id); })) { until = now_.instant; }
        events_.clear();
        // Readable sockets stay readable: without the pause this loop would spin on them.
        if (crowded) { std::this_thread::sleep_for(1ms); }
        transport_.wait(std::max<Duration>(until - read_instant(), 0ns), events_);
        now_ = read_clocks();
        posts_.clear();
        shared_.mailboxes[identity_.index]->drain(posts_);
        for (Post& post : posts_) { on_post(post); }
        feed(crowded);
        while (!timers_.empty() && timers_.top().at <= now_.instant) {
            const Timer timer = timers_.top();
            timers_.pop();
            Peer* peer = find(timer.connection);
            if (peer == nullptr || peer->timer != timer.at) { continue; }
            peer->timer = Instant::max();
            on_timer(*peer);
        }
        engine_->on_deadline(now_, output_);
        take_output();
        watch_engine();
        shard_.on_deadline(now_, effects_);
        perform();
        transport_.expire(now_.instant);
        transport_.flush();
        if (!lagging_.empty() || !stalled_.empty()) {
            serve_lagging();
            serve_stalled();
            transport_.flush();
        }
        *frames_ = Frames{};                 // Nothing is held past the turn.
        counters_.loop_delay_seconds =
            std::max(counters_.loop_delay_seconds,
                     std::chrono::duration<double>(read_instant() - now_.instant).count());
        if (drained_ && !reported_idle_ && websockets_ == 0 && shard_.idle() && engine_->idle()) {
            reported_idle_ = true;
            shared_.idle_loops.fetch_add(1, std::memory_order_relaxed);
        }
    }
}

}  // namespace starling::server

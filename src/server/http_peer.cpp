// The HTTP side of a loop: requests one by one, upgrades, the backend API, health and pages.

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "codec/handshake.h"
#include "codec/json.h"
#include "server/embedded.h"
#include "server/peer.h"
#include "server/rebinding.h"
#include "server/proxy.h"

namespace starling::server {

namespace http = codec::http;
namespace ws = codec::websocket;

namespace {

constexpr std::size_t kLargeBody = 8 * 1024 * 1024;
constexpr int kBodyPatience = 2;             // Times what the head may take.

std::string error_json(const Error& error) { return codec::backend::error_reply(error).body; }

bool iequals(std::string_view left, std::string_view right) {
    return left.size() == right.size() && std::equal(left.begin(), left.end(), right.begin(), [](char a, char b) {
               return (a | 0x20) == (b | 0x20) && ((a ^ b) & ~0x20) == 0;
           });
}

std::optional<std::string> bearer(const http::Request& request) {
    const std::string* header = request.header("authorization");
    if (header == nullptr || header->size() < 8 || !iequals(header->substr(0, 7), "bearer ")) { return std::nullopt; }
    return header->substr(7);
}

}  // namespace

Duration ShardLoop::head_patience() const { return std::min<Duration>(runtime_->settings->connect_timeout, 10s); }

void ShardLoop::begin_request(Peer& peer) {
    Peer::More& more = peer.more.need();
    if (!more.parser) { more.parser = std::make_unique<http::Parser>(); }
    more.deadline = now_.instant + head_patience();
    schedule(peer, more.deadline);
}

void ShardLoop::on_http(Peer& peer, std::string_view bytes) {
    const net::ConnectionId id = peer.id;
    if (peer.held) {
        peer.more.need().inbox.append(bytes);
        return;
    }
    if (!peer.more.peek().parser) { begin_request(peer); }
    while (true) {
        const auto step = peer.more.need().parser->feed(bytes);
        bytes.remove_prefix(std::min(step.consumed, bytes.size()));
        if (step.status == http::Parser::Status::need_more) { return; }
        if (step.status == http::Parser::Status::failed) {
            peer.keep_alive = false;
            const int status = peer.more.need().parser->error_status();
            const ErrorCode code = status == 413 ? ErrorCode::too_large : ErrorCode::bad_request;
            respond_error(peer, status, {code, std::string(peer.more.need().parser->error_reason())});
            return;
        }
        if (step.status == http::Parser::Status::head) {
            const std::string_view path = peer.more.need().parser->request().path();
            const bool large = path == "/v1/batch" || path == "/v1/broadcast";
            peer.more.need().parser->set_body_limit(large ? kLargeBody : runtime_->settings->wire.data_bytes + 65536);
            // The head came in its time; a large body on a slow line takes longer, but not for ever.
            peer.more.need().deadline += head_patience() * kBodyPatience;
            if (peer.more.need().parser->request().expects_continue) { transport_.send(id, SharedBytes(http::kContinue)); }
            continue;
        }
        http::Request request = peer.more.need().parser->take();
        peer.keep_alive = request.keep_alive;
        peer.head_only = request.method == "HEAD";
        ++counters_.http_requests;
        on_request(peer, std::move(request));
        perform();
        if (find(id) != &peer) { return; }
        if (peer.kind != Peer::Kind::http) { // Upgraded: what follows is frames.
            peer.more.need().parser.reset();
            peer.trim();
            if (peer.kind != Peer::Kind::closing && !bytes.empty()) {
                std::string rest(bytes);
                on_websocket(peer, rest);
            }
            return;
        }
        stall_if_full(peer);
        if (peer.held) {                     // The answer comes later; the next request waits for it.
            peer.more.need().inbox.append(bytes);
            return;
        }
        if (bytes.empty()) {                 // An idle connection holds no parser.
            peer.more.need().parser.reset();
            return;
        }
        begin_request(peer);                 // The next of a pipeline has a time of its own.
    }
}

void ShardLoop::respond(Peer& peer, int status, std::string_view body, std::string_view content_type,
                        std::vector<std::pair<std::string_view, std::string_view>> headers) {
    if (status >= 400) { ++counters_.http_errors[status]; }
    const bool goes_on = peer.keep_alive && !shared_.draining.load(std::memory_order_relaxed);
    http::Response response{.status = status, .content_type = content_type, .body = body, .keep_alive = goes_on};
    response.head_only = peer.head_only;
    response.headers = std::move(headers);
    transport_.send(peer.id, SharedBytes(ByteView(http::encode(response))));
    if (!goes_on) {
        peer.kind = Peer::Kind::closing;
        peer.more.need().parser.reset();
        transport_.close_after_flush(peer.id, 5s, now_.instant);
        return;
    }
    schedule(peer, now_.instant + 60s);
}

void ShardLoop::respond_error(Peer& peer, int status, const Error& error) {
    log_refusal(peer, "http_refused", status, error.message);
    respond(peer, status, error_json(error), "application/json",
            status == 401 ? std::vector<std::pair<std::string_view, std::string_view>>{{"WWW-Authenticate", "Bearer"}}
                          : std::vector<std::pair<std::string_view, std::string_view>>{});
}

void ShardLoop::on_request(Peer& peer, http::Request request) {
    const std::string path(request.path());
    const std::string* host = request.header("host");
    if (peer.admin && host != nullptr && is_rebound(runtime_->config.server.admin, *host)) {
        peer.keep_alive = false;
        respond_error(peer, 403, {ErrorCode::forbidden, "Host: is not this machine"});
        return;
    }
    if (path == "/health/live" || path == "/health/ready") {
        if (request.method != "GET" && request.method != "HEAD") {
            respond_error(peer, 405, {ErrorCode::bad_request, "method: GET only"});
            return;
        }
        const bool well = path == "/health/live" || (shared_.ready.load(std::memory_order_relaxed) &&
                                                     shared_.unready_engines.load(std::memory_order_relaxed) == 0 &&
                                                     !shared_.draining.load(std::memory_order_relaxed));
        respond(peer, well ? 200 : 503, well ? R"({"status":"ok"})" : R"({"status":"unavailable"})");
        return;
    }
    if (peer.admin) {
        on_admin(peer, request);
    } else {
        on_public(peer, request);
    }
}

void ShardLoop::on_admin(Peer& peer, http::Request& request) {
    if (request.path() != "/metrics") {
        respond_error(peer, 404, {ErrorCode::not_found, "path: is unknown"});
        return;
    }
    if (request.method != "GET") {
        respond_error(peer, 405, {ErrorCode::bad_request, "method: GET only"});
        return;
    }
    const std::uint64_t token = ++tokens_;
    stats_gathering_[token].connection = peer.id;
    for (auto& mailbox : shared_.mailboxes) { mailbox->send(StatsAsk{identity_.index, token}); }
    hold(peer, true);
}

void ShardLoop::on_public(Peer& peer, http::Request& request) {
    const std::string path(request.path());
    const bool development = runtime_->config.development;
    if (path == "/v1/ws") {
        on_upgrade(peer, request, false);
    } else if (path == "/v1/echo") {
        if (development) { return on_upgrade(peer, request, true); }
        respond_error(peer, 404, {ErrorCode::not_found, "path: is unknown"});
    } else if (development && (path == "/" || path == "/demo")) {
        respond(peer, 302, "", "text/plain", {{"Location", "/demo/"}});
    } else if (development && path.starts_with("/demo/")) {
        serve_page(peer, request);
    } else if (path.starts_with("/v1/")) {
        on_api(peer, request);
    } else {
        respond_error(peer, 404, {ErrorCode::not_found, "path: is unknown"});
    }
}

void ShardLoop::serve_page(Peer& peer, const http::Request& request) {
    const EmbeddedFile* file = find_embedded(request.path());
    if (file == nullptr) {
        respond_error(peer, 404, {ErrorCode::not_found, "path: there is no such page"});
        return;
    }
    if (request.method != "GET" && request.method != "HEAD") {
        respond_error(peer, 405, {ErrorCode::bad_request, "method: GET only"});
        return;
    }
    const std::string* known = request.header("if-none-match");
    const bool same = known != nullptr && *known == file->etag;
    respond(peer, same ? 304 : 200, same ? std::string_view{} : file->content, file->media_type,
            {{"ETag", file->etag},
             {"Cache-Control", "no-cache"},
             {"Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"}});
}

bool ShardLoop::origin_allowed(const http::Request& request) const {
    const std::string* origin = request.header("origin");
    if (origin == nullptr) { return true; }  // Not a browser; there are no cookies to abuse.
    const auto& allowed = runtime_->config.server.allowed_origins;
    if (std::find(allowed.begin(), allowed.end(), *origin) != allowed.end()) { return true; }
    if (!allowed.empty()) { return false; }
    if (runtime_->config.development) { return true; }
    const std::string* host = request.header("host");
    return host != nullptr && (*origin == "http://" + *host || *origin == "https://" + *host);
}

void ShardLoop::on_upgrade(Peer& peer, http::Request& request, bool echo) {
    static constexpr std::string_view kSubprotocols[] = {"starling.v1.json"};
    peer.keep_alive = peer.keep_alive && request.upgrade;
    if (shared_.draining.load(std::memory_order_relaxed)) {
        peer.keep_alive = false;
        respond_error(peer, 503, {ErrorCode::unavailable, "the node is going"});
        return;
    }
    std::vector<std::pair<std::string_view, std::string_view>> headers;
    for (const auto& [name, value] : request.headers) { headers.emplace_back(name, value); }
    const ws::HandshakeRequest ask{.method = request.method, .headers = headers};
    const auto agreed = ws::accept_handshake(ask, {.subprotocols = kSubprotocols});
    if (!agreed) {
        log_refusal(peer, "upgrade_refused", agreed.error().status, "no WebSocket handshake");
        ++counters_.http_errors[agreed.error().status];
        transport_.send(peer.id, SharedBytes(ByteView(agreed.error().response)));
        peer.kind = Peer::Kind::closing;
        transport_.close_after_flush(peer.id, 5s, now_.instant);
        return;
    }
    peer.keep_alive = false;                 // Every refusal from here on closes: no proxy may believe in a tunnel.
    if (!origin_allowed(request)) {
        respond_error(peer, 403, {ErrorCode::forbidden, "Origin: is not on server.allowed_origins"});
        return;
    }
    std::vector<std::pair<std::string, std::string>> query;
    const std::size_t mark = request.target.find('?');
    if (mark != std::string::npos && !http::parse_query(std::string_view(request.target).substr(mark + 1), query)) {
        respond_error(peer, 400, {ErrorCode::bad_request, "query: is not percent-encoded UTF-8"});
        return;
    }
    std::string forwarded;
    for (const auto& [name, value] : request.headers) {   // Several lines are one list (RFC 9110 §5.3).
        if (name == "x-forwarded-for") { forwarded += (forwarded.empty() ? "" : ",") + value; }
    }
    const auto per_address = static_cast<std::uint64_t>(runtime_->config.limits.connections_per_address);
    const auto& proxies = runtime_->config.server.trusted_proxies;
    if (per_address != 0 || !proxies.empty()) {
        peer.more.need().address = client_address(transport_.peer_address(peer.id), forwarded, proxies);
    }
    domain::OpenInfo info{.app = 0, .token = bearer(request)};
    std::string app = "default";
    for (auto& [key, value] : query) {
        if (key == "app") { app = value; }
        if (key == "token") { info.token = value; }
    }
    const auto found = runtime_->settings->find_app(app);
    if (!found && !echo) {
        respond_error(peer, 404, {ErrorCode::not_found, "app: is unknown"});
        return;
    }
    const bool too_many = per_address != 0 && !shared_.addresses.try_add(counted_network(peer.more.peek().address), per_address);
    peer.counted = per_address != 0 && !too_many;
    transport_.send(peer.id, SharedBytes(ByteView(agreed->response)));
    peer.kind = echo ? Peer::Kind::echo : Peer::Kind::native;
    peer.window_bits = agreed->deflate ? agreed->deflate->server_window_bits : 0;
    peer.next_ping = now_.instant + runtime_->settings->ping_interval;
    schedule(peer, peer.next_ping);
    ++counters_.opened;
    ++websockets_;
    if (echo) { return; }
    if (too_many) {
        send_frame(peer, SharedBytes(ByteView(codec::native::encode_error(
                             {}, {ErrorCode::limit_exceeded, "connections_per_address is " + std::to_string(per_address)}))),
                   false, 0);
        close_websocket(peer, close_code::limit, "connections_per_address");
        return;
    }
    info.app = *found;
    const domain::SessionId session = shard_.on_open(std::move(info), now_, effects_);
    peer.session = session;
    if (sessions_.size() <= session.slot) { sessions_.resize(session.slot + 1); }
    sessions_[session.slot] = {session.generation, peer.id};
}

std::optional<std::size_t> ShardLoop::app_of_key(const http::Request& request) const {
    const auto key = bearer(request);
    if (!key) { return std::nullopt; }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(key->data()), key->size(), digest);
    std::optional<std::size_t> app;
    // Digests of equal length, all of them compared: time says nothing of the keys.
    for (const auto& known : runtime_->api_keys) {
        if (CRYPTO_memcmp(known.digest.data(), digest, sizeof digest) == 0) { app = known.app; }
    }
    return app;
}

// Whoever sends what is not even JSON may mean another end of the body than we do: nothing of this
// connection is read as a next request.
void ShardLoop::close_if_no_json(Peer& peer, std::string_view body) {
    if (!body.empty() && !codec::json::parse(body, 256)) { peer.keep_alive = false; }
}

void ShardLoop::on_api(Peer& peer, http::Request& request) {
    const auto app = app_of_key(request);
    if (!app) {
        respond_error(peer, 401, {ErrorCode::unauthenticated, "Authorization: no valid API key"});
        return;
    }
    peer.served = true;
    const std::uint64_t token = ++tokens_;
    ApiCall call{.connection = peer.id, .app = *app, .batch = false, .items = {}, .replies = {}};
    const codec::backend::Limits limits{.wire = runtime_->settings->wire,
                                        .broadcast_channels = static_cast<std::size_t>(runtime_->config.limits.broadcast_channels),
                                        .batch_requests = static_cast<std::size_t>(runtime_->config.limits.batch_requests)};
    if (request.path() == "/v1/batch") {
        if (request.method != "POST") {
            respond_error(peer, 405, {ErrorCode::bad_request, "method: POST only"});
            return;
        }
        auto batch = codec::backend::decode_batch(request.body, limits);
        if (!batch) {
            close_if_no_json(peer, request.body);
            respond_error(peer, http_status(batch.error().error.code), batch.error().error);
            return;
        }
        call.batch = true;
        call.items = std::move(batch->items);
        hold(peer, true);
        next_of_batch(token, calls_.emplace(token, std::move(call)).first->second);
        return;
    }
    auto decoded = codec::backend::decode(request.method, request.target, request.body, limits);
    if (!decoded) {
        const auto& bad = decoded.error();
        close_if_no_json(peer, request.body);
        respond_error(peer, bad.method_not_allowed ? 405 : http_status(bad.error.code), bad.error);
        return;
    }
    calls_.emplace(token, std::move(call));
    hold(peer, true);
    shard_.on_backend(token, *app, std::move(*decoded), now_, effects_);
}

// A batch runs in order: the next item when the one before is answered.
void ShardLoop::next_of_batch(std::uint64_t token, ApiCall& call) {
    const codec::backend::Limits limits{.wire = runtime_->settings->wire,
                                        .broadcast_channels = static_cast<std::size_t>(runtime_->config.limits.broadcast_channels),
                                        .batch_requests = 0};
    while (call.replies.size() < call.items.size()) {
        const auto& item = call.items[call.replies.size()];
        const std::string_view path = std::string_view(item.path).substr(0, item.path.find('?'));
        if (path == "/v1/batch") {
            call.replies.push_back(codec::backend::error_reply({ErrorCode::bad_request, "path: a batch in a batch"}));
            continue;
        }
        auto decoded = codec::backend::decode(item.method, item.path, item.body, limits);
        if (decoded) {
            shard_.on_backend(token, call.app, std::move(*decoded), now_, effects_);
            return;
        }
        auto reply = codec::backend::error_reply(decoded.error().error);
        if (decoded.error().method_not_allowed) { reply.status = 405; }
        call.replies.push_back(std::move(reply));
    }
    const std::string body = codec::backend::encode_batch(call.replies);
    const net::ConnectionId id = call.connection;
    calls_.erase(token);
    if (Peer* peer = find(id)) {
        respond(*peer, 200, body);
        hold(*peer, false);
    }
}

void ShardLoop::on_backend_reply(std::uint64_t token, codec::backend::Reply reply) {
    const auto it = calls_.find(token);
    if (it == calls_.end()) { return; }
    if (it->second.batch) {
        it->second.replies.push_back(std::move(reply));
        next_of_batch(token, it->second);
        return;
    }
    const net::ConnectionId id = it->second.connection;
    calls_.erase(it);
    if (Peer* peer = find(id)) {
        respond(*peer, reply.status, reply.body);
        hold(*peer, false);
    }
}

}  // namespace starling::server

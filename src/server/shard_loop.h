#pragma once
// One shard's thread: its sockets, its peers and its share of the domain. A turn: wait; read the clocks
// once; take the mail; feed all input; run deadlines; perform effects; flush.

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "codec/backend.h"
#include "codec/deflate.h"
#include "codec/http.h"
#include "codec/websocket.h"
#include "domain/mail.h"
#include "domain/shard.h"
#include "engine/engine.h"
#include "net/mailbox.h"
#include "net/transport.h"
#include "server/authorize.h"
#include "server/config.h"
#include "server/key_store.h"
#include "server/redis_driver.h"

namespace starling::server {

// What all loops read and a reload replaces as a whole.
struct Runtime {
    Config config;
    std::shared_ptr<const domain::Settings> settings;
    struct ApiKey { std::string digest; std::size_t app = 0; };   // SHA-256 of the key.
    std::vector<ApiKey> api_keys;
    std::shared_ptr<net::TlsContext> tls;    // Null: plain.
    std::shared_ptr<net::TlsContext> redis_tls;   // For rediss://.
    std::shared_ptr<KeyStore> keys;          // Null: no key lives at an address.
};

struct LoopStats {
    domain::ShardStats domain;
    engine::LeaveCounts leaves;
    std::uint64_t ingress_dropped = 0;
    std::uint64_t opened = 0, slow_consumers = 0, queue_bytes = 0, http_requests = 0;
    std::map<std::uint16_t, std::uint64_t> closed;
    std::map<int, std::uint64_t> http_errors;   // By status.
    double loop_delay_seconds = 0;           // The longest turn since the last look.
};

struct SettingsPost { std::shared_ptr<const Runtime> runtime; };
struct DrainPost { Duration window; };
struct StopPost {};
struct StatsAsk { std::uint32_t from = 0; std::uint64_t token = 0; };
struct StatsAnswer { std::uint64_t token = 0; LoopStats stats; };
using Post = std::variant<std::unique_ptr<domain::Mail>, SettingsPost, DrainPost, StopPost, StatsAsk, StatsAnswer,
                          AuthorizeAnswer>;
using Mailboxes = std::vector<std::unique_ptr<net::Mailbox<Post>>>;

// How many connections each address has on this node; asked once a connection, so a lock is cheap.
class AddressCounts {
 public:
    bool try_add(const std::string& address, std::uint64_t limit);
    void remove(const std::string& address);

 private:
    std::mutex mutex_;
    std::map<std::string, std::uint64_t, std::less<>> counts_;
};

struct Shared {
    Mailboxes mailboxes;
    AuthorizeClient authorize;
    AddressCounts addresses;
    // Written by the main thread, read by every loop; each stands alone, so relaxed is enough.
    std::atomic<bool> ready{false};
    std::atomic<bool> draining{false};
    std::atomic<std::uint32_t> unready_engines{0};
    std::atomic<bool> failed{false};         // An engine must not go on; the reason is in the log.
    std::atomic<std::uint32_t> idle_loops{0};
    std::atomic<std::uint32_t> reloads{0}, reloads_refused{0};
    explicit Shared(std::size_t shards);
};

inline constexpr std::uint32_t kPublic = 1;
inline constexpr std::uint32_t kAdmin = 2;

class ShardLoop {
 public:
    ShardLoop(domain::ShardIdentity identity, std::shared_ptr<const Runtime> runtime, Shared& shared);
    ~ShardLoop();
    net::Transport& transport() { return transport_; }
    void run();                              // Until a StopPost.

 private:
    struct Peer;
    struct ApiCall;
    struct Frames;

    void feed(bool crowded);                 // The events of this turn.
    void on_event(const net::Event& event);
    void on_post(Post& post);
    void perform();                          // All effects, and the mail to oneself, until none is left.
    void perform(domain::Effect& effect);
    void watch_engine();                     // Its health, for everyone and the log.
    void take_output();                      // The engine's events go to the shard.

    // http_peer.cpp
    void on_http(Peer& peer, std::string_view bytes);
    Duration head_patience() const;
    void begin_request(Peer& peer);          // Its parser, and the time that its head has.
    void on_request(Peer& peer, codec::http::Request request);
    void on_public(Peer& peer, codec::http::Request& request);
    void on_admin(Peer& peer, codec::http::Request& request);
    void on_upgrade(Peer& peer, codec::http::Request& request, bool echo);
    void on_api(Peer& peer, codec::http::Request& request);
    void close_if_no_json(Peer& peer, std::string_view body);
    void next_of_batch(std::uint64_t token, ApiCall& call);
    void on_backend_reply(std::uint64_t token, codec::backend::Reply reply);
    void respond(Peer& peer, int status, std::string_view body, std::string_view content_type = "application/json",
                 std::vector<std::pair<std::string_view, std::string_view>> headers = {});
    void respond_error(Peer& peer, int status, const Error& error);
    bool origin_allowed(const codec::http::Request& request) const;
    std::optional<std::size_t> app_of_key(const codec::http::Request& request) const;
    void serve_page(Peer& peer, const codec::http::Request& request);
    std::string metrics_text(const std::vector<LoopStats>& all) const;
    LoopStats stats();

    // websocket_peer.cpp
    void on_websocket(Peer& peer, std::span<char> bytes);
    void read_frames(Peer& peer, codec::websocket::Reader& reader, std::span<char> bytes);
    void on_echo(Peer& peer, const codec::websocket::Event& event);
    void on_native(Peer& peer, const codec::websocket::Event& event);
    void send_text(domain::SessionId session, const SharedBytes& text, bool counts, std::uint32_t channel);
    void send_frame(Peer& peer, const SharedBytes& text, bool counts, std::uint32_t channel);
    const SharedBytes& frame_for(const Peer& peer, const SharedBytes& text, bool counts);
    enum class Flood : std::uint8_t { no, pongs_wait, too_many };
    Flood count_control(Peer& peer);
    void send_control(Peer& peer, std::string frame);
    void log_refusal(const Peer& peer, std::string_view what, std::int64_t code, std::string_view reason);
    void close_websocket(Peer& peer, std::uint16_t code, std::string_view reason);
    void end_session(Peer& peer, std::uint16_t code);
    void hold(Peer& peer, bool held);
    void settle_hold(Peer& peer);
    bool stall_if_full(Peer& peer);
    bool has_room(net::ConnectionId id) const;
    void serve_stalled();
    void serve_lagging();

    Peer* find(net::ConnectionId id);
    Peer* peer_of(domain::SessionId session);
    void forget(net::ConnectionId id);
    void schedule(Peer& peer, Instant at);
    void on_timer(Peer& peer);

    domain::ShardIdentity identity_;
    std::shared_ptr<const Runtime> runtime_;
    Shared& shared_;
    net::Transport transport_;
    Now now_;
    domain::Shard shard_;
    std::unique_ptr<engine::Engine> engine_;
    std::optional<RedisDriver> driver_;      // Where the engine wants sockets.
    engine::Output output_;
    domain::Effects effects_;
    bool performing_ = false;
    bool stopped_ = false;
    bool drained_ = false;
    bool reported_idle_ = false;
    bool engine_ready_ = true;
    bool engine_found_ = false;              // It was ready once.
    bool engine_missed_ = false;             // And the log has said that it is not.

    std::deque<Peer> peers_;                 // By connection slot; a place stays where it is.
    std::vector<std::pair<std::uint32_t, net::ConnectionId>> sessions_;   // By session slot, with its generation.
    std::uint64_t websockets_ = 0;
    struct Timer {
        Instant at;
        net::ConnectionId connection;
        bool operator>(const Timer& other) const { return at > other.at; }
    };
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
    std::vector<net::ConnectionId> lagging_;
    std::vector<net::ConnectionId> stalled_;

    // Lines about refused peers, so that a flood of them does not become a flood of lines.
    std::uint32_t refusals_told_ = 0, refusals_untold_ = 0;
    Instant refusals_since_{};
    std::uint64_t tokens_ = 0;
    std::map<std::uint64_t, ApiCall> calls_;
    struct StatsGathering {
        net::ConnectionId connection;
        std::vector<LoopStats> answers;
    };
    std::map<std::uint64_t, StatsGathering> stats_gathering_;
    codec::Deflator deflator_;
    codec::Inflator inflator_;
    std::unique_ptr<Frames> frames_;
    LoopStats counters_;
    std::vector<net::Event> events_, strangers_;
    std::vector<Post> posts_;
};

}  // namespace starling::server

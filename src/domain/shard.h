#pragma once
// One core's share of a node, as a pure state machine: the sessions it accepted, the hub that knows
// who listens here, and the channels and users whose home it is. Events in, effects out.
//
//   transport -> Shard (sessions) --Mail--> Shard (home) --AskEngine--> engine --EngineEvent-->
//                                           Shard (home) --Mail--> Shards (hub) -> transport
//
// A shard that mails itself goes through the same queue, so one shard and four behave alike.

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "codec/backend.h"
#include "domain/engine.h"
#include "domain/session_ref.h"
#include "domain/settings.h"

namespace starling::domain {

struct OpenInfo {
    std::size_t app = 0;               // Index into Settings::apps.
    std::optional<std::string> token;  // From the upgrade request: connect happens by itself.
};

// What shall happen. Performed in order at the end of the turn.
struct Send {                          // One text frame; `text` is shared by every receiver.
    SessionId session;
    SharedBytes text;
    bool counts = true;                // false: answers to requests do not count against queue_bytes.
    std::uint32_t channel = 0;         // Not 0: droppable for slow_consumer = "latest".
};
// The same frame to many: the driver takes one count for all of them. Like Send with counts = true.
struct Fanout {
    std::vector<SessionId> sessions;
    SharedBytes text;
    std::uint32_t channel = 0;
};
struct Close { SessionId session; std::uint16_t code = 1000; std::string reason; };   // After what was sent before.
struct HoldInput { SessionId session; bool hold = true; };   // Stop or go on reading commands of this peer.
struct BackendReply { std::uint64_t token = 0; codec::backend::Reply reply; };
struct AuthorizeRequest {              // Ask the application's authorize_url; answer with on_authorized.
    SessionId session;
    std::uint64_t ticket = 0;
    std::string url;
    std::string body;                  // JSON {userId, connectionId, channel, action}.
};
struct Mail;                           // domain/mail.h; a value, may cross threads.
struct MailTo { std::uint32_t shard = 0; std::unique_ptr<Mail> mail; };
struct AskEngine { std::unique_ptr<EngineCall> call; };   // What comes of it goes to on_engine.
struct Probe { SessionId session; };         // Make the peer answer; its next bytes are told by on_alive.
using Effect =
    std::variant<Send, Fanout, Close, HoldInput, BackendReply, AuthorizeRequest, MailTo, AskEngine, Probe>;
using Effects = std::vector<Effect>;

struct ShardIdentity {
    std::string node_id;               // [a-z0-9], without dashes.
    std::string address;
    std::string version;
    std::uint32_t index = 0;
    std::uint32_t count = 1;
    std::uint64_t seed = 0;
};

// Seconds, in the buckets of a Prometheus histogram. The resolution is a turn of the loop.
struct LatencyHistogram {
    static constexpr double kBounds[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1};
    std::uint64_t counts[std::size(kBounds) + 1] = {};
    double sum = 0;
    void observe(Duration duration) {
        const double seconds = std::chrono::duration<double>(duration).count();
        std::size_t bucket = 0;
        while (bucket < std::size(kBounds) && seconds > kBounds[bucket]) { ++bucket; }
        ++counts[bucket];
        sum += seconds;
    }
    void add(const LatencyHistogram& other) {
        for (std::size_t i = 0; i < std::size(counts); ++i) { counts[i] += other.counts[i]; }
        sum += other.sum;
    }
};

struct ShardStats {
    LatencyHistogram publish_to_delivery;    // From the publisher's frame to the fan-out on a shard.
    LatencyHistogram join_to_seen;           // From the oldest change told to its fan-out on a shard.
    std::uint64_t connections = 0, channels = 0, presence_members = 0;
    std::uint64_t received = 0, sent = 0, recoveries_true = 0, recoveries_false = 0;
    std::uint64_t unreachable_partitions = 0;   // For which the engine is out of reach.
};

class Shard {
 public:
    Shard(ShardIdentity identity, std::shared_ptr<const Settings> settings, Now now);
    ~Shard();

    SessionId on_open(OpenInfo info, Now now, Effects& out);
    // One complete text frame, valid UTF-8, at most frame_bytes.
    void on_text(SessionId session, std::string_view text, Now now, Effects& out);
    // The transport refused a frame before it was one (too_large, binary): tells `error`, then closes.
    void on_refused(SessionId session, Error error, std::uint16_t code, Now now, Effects& out);
    // The peer is gone. `code`: what the peer's close frame said, the code we closed with, or 1006.
    void on_closed(SessionId session, std::uint16_t code, Now now, Effects& out);
    void on_mail(Mail& mail, Now now, Effects& out);
    // The first bytes of this peer after a Probe.
    void on_alive(SessionId session, Now now, Effects& out);
    // All events that one call to the engine gave go in before the effects of the first are performed.
    void on_engine(EngineEvent& event, Now now, Effects& out);
    void on_backend(std::uint64_t token, std::size_t app, codec::backend::Request request, Now now, Effects& out);
    void on_authorized(SessionId session, std::uint64_t ticket, bool allow, std::optional<std::string> data, Now now, Effects& out);
    void on_settings(std::shared_ptr<const Settings> settings, Now now, Effects& out);
    // The engine is away for longer than cluster.shed_after_ms: every session ends with 4010.
    void on_shed(Now now, Effects& out);
    // Sends each session `reconnect` with a jittered delay within `window` and closes it with 1012 1 s after it.
    void on_drain(Duration window, Now now, Effects& out);

    std::optional<Instant> next_deadline() const;
    void on_deadline(Now now, Effects& out);

    // No session left: a draining node may end once its engine is idle, too.
    bool idle() const;
    ShardStats stats() const;

 private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace starling::domain

#pragma once
// The inside of a shard, shared by the files that tell one story each: connect, commands, hub, home,
// home_lane, home_join, home_publish, user_home, calls, backend. Nothing outside src/domain includes it.

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "codec/native.h"
#include "domain/home_channel.h"
#include "domain/mail.h"
#include "domain/permissions.h"
#include "domain/shard.h"

namespace starling::domain {

namespace native = codec::native;
namespace backend = codec::backend;

// Frames a second with a burst: refilled by time, no timer of its own.
class TokenBucket {
 public:
    bool try_take(double rate, double burst, Instant now) {
        if (!started_) { level_ = burst; }
        started_ = true;
        level_ = std::min(burst, level_ + rate * std::chrono::duration<double>(now - last_).count());
        last_ = now;
        if (level_ < 1) { return false; }
        level_ -= 1;
        return true;
    }

 private:
    double level_ = 0;
    Instant last_{};
    bool started_ = false;
};

// How often within 10 s.
class Strikes {
 public:
    std::uint32_t add(Instant now) {
        if (count_ == 0 || now - first_ >= 10s) {
            first_ = now;
            count_ = 0;
        }
        return ++count_;
    }

 private:
    Instant first_{};
    std::uint32_t count_ = 0;
};

struct Subscription {
    enum class Status : std::uint8_t { pending, active, leaving };
    std::uint32_t tag = 0;
    std::uint32_t hub = 0;                   // Index into Shard::State::hub.
    std::uint32_t entry = 0;                 // Index into HubChannel::entries while active or leaving.
    Status status = Status::pending;
    bool joined = false;                     // Has a hub entry.
    bool present = false;
    bool sees = false;                       // Watches presence.
    Rights granted = 0;                      // By a channel token, the application or the backend.
    std::int64_t expires_ms = 0;             // Of a channel token; 0: none.
};

// Commands for one channel that wait for the application's answer, in order.
struct Waiting {
    std::string channel;
    std::uint64_t ticket = 0;
    Right asked = Right::subscribe;
    Rights denied = 0;                       // For the command at the head.
    std::optional<std::string> data;
    std::deque<native::Request> queue;
};

struct Session {
    enum class State : std::uint8_t { fresh, resuming, attaching, open };
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    bool used = false;
    State state = State::fresh;
    bool resumed = false;
    std::uint32_t app = 0;
    std::string user_id;
    std::int64_t connected_at = 0;
    Instant opened{};
    std::optional<std::int64_t> exp_ms;
    std::optional<std::string> info;
    Grants grants;
    std::vector<Subscription> subscriptions;
    std::vector<ChannelGrant> channel_grants;
    std::vector<Waiting> waiting;
    std::vector<std::string> auto_channels;  // Of the token; subscribed once connected.
    native::RequestId connect_id;
    std::optional<Position> notifications;
    TokenBucket bucket;
    Strikes refused, bad;
    std::optional<Instant> drain_close;
};

struct HubEntry {
    SessionId session;
    std::uint32_t tag = 0;
    Watch watch = Watch::none;
    std::uint64_t presence_point = 0;
};
struct HubChannel {
    ChannelRef ref;
    std::string key;
    std::uint32_t references = 0;            // Subscriptions, pending ones too; 0: free.
    std::vector<HubEntry> entries;
};

struct Ended {
    std::uint32_t app = 0;
    std::string user_id;
    bool resumable = false;
    std::vector<ChannelGrant> grants;
};

// A backend request whose answers are not all in.
struct Gathering {
    backend::Request request;
    std::uint32_t missing = 0;
    bool many = false;
    std::vector<std::expected<backend::PublishResult, Error>> results;
    std::vector<backend::ChannelInfo> channels;
    std::vector<backend::ConnectionInfo> connections;
    std::uint64_t count = 0;
};

struct Shard::State {
    State(ShardIdentity identity_in, std::shared_ptr<const Settings> settings_in, Now now_in);

    // --- shard.cpp: words that all files use ---
    ShardIdentity self;
    std::shared_ptr<const Settings> settings;
    Rng rng;
    Now now;
    Effects* out = nullptr;
    ShardStats counters;
    Instant started{};
    bool draining = false;

    void send(SessionId session, SharedBytes text, bool counts = true);
    void reply(SessionId session, const std::string& text);          // Does not count against the queue.
    void mail(std::uint32_t shard, auto body) {
        out->push_back(MailTo{shard, std::make_unique<Mail>(Mail{std::move(body)})});
    }
    std::uint32_t home_of(const ChannelRef& ref) const;
    std::uint32_t home_of_user(std::uint32_t app, std::string_view user) const;
    const NamespaceSettings& space(const ChannelRef& ref) const;
    std::string connection_id(SessionRef session) const;
    std::optional<SessionRef> parse_connection_id(std::string_view text) const;
    std::string message_id() { return rng.word(16); }
    SessionRef ref_of(const Session& session) const;
    SessionId id_of(const Session& session) const;

    // --- deadlines: a heap whose stale entries are skipped when they come up ---
    struct Due {
        Instant at;
        enum class Kind : std::uint8_t { session, home, ended } kind;
        SessionId id;
        bool operator>(const Due& other) const { return at > other.at; }
    };
    std::priority_queue<Due, std::vector<Due>, std::greater<>> deadlines;
    void wake_session(const Session& session, Instant at);
    void on_session_deadline(Session& session);

    // --- connect.cpp ---
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<std::uint32_t> free_sessions;
    std::uint64_t session_count = 0;
    StringMap<std::vector<std::uint32_t>> users;      // app + user -> slots, once connected.
    std::map<std::pair<std::uint32_t, std::uint32_t>, Ended> ended;
    Session* find(SessionId id);
    void connect(Session& session, native::RequestId request, native::Connect command);
    void attach(Session& session);
    void on(ResumeAskMail& mail);
    void on(ResumeAnswerMail& mail);
    void on(AttachedMail& mail);
    void refuse(Session& session, const Error& error, std::uint16_t code, native::RequestId request = {});
    void close(Session& session, std::uint16_t code, std::string reason);
    void end(Session& session, std::uint16_t code);
    std::string resume_token(const Session& session) const;
    std::optional<SessionRef> check_resume(const Session& session, std::string_view token) const;
    void apply_claims(Session& session, codec::jwt::Claims& claims);
    void refresh(Session& session, native::RequestId request, const native::Refresh& command);

    // --- commands.cpp ---
    std::uint64_t tickets = 0;
    std::uint32_t tags = 0;
    enum class Permission : std::uint8_t { granted, refused, asked };
    void on_request(Session& session, native::Request request);
    void run(Session& session, native::Request request, Waiting* waiting);
    Rights rights(const Session& session, std::string_view channel) const;
    Permission require(Session& session, std::string_view channel, Right right, native::Request& request,
                       Waiting* waiting);
    void fail(Session& session, native::RequestId request, ErrorCode code, std::string message,
              std::string_view channel);
    Subscription* find_subscription(Session& session, std::string_view channel);
    void subscribe(Session& session, native::Request& request, native::Subscribe& command, Waiting* waiting);
    bool check_channel_token(Session& session, native::RequestId request, const native::Subscribe& command,
                             ChannelGrant& grant);
    void subscribe_by_server(Session& session, const std::string& channel, bool present,
                             std::optional<std::string> data, Rights granted);
    void unsubscribe(Session& session, Subscription& subscription, Ending ending);
    void recheck(Session& session);                   // Ends subscriptions whose right is gone.

    // --- hub.cpp ---
    std::vector<HubChannel> hub;
    std::vector<std::uint32_t> free_hub;
    StringMap<std::uint32_t> hub_index;
    std::uint32_t hub_channel(const ChannelRef& ref);
    void release_hub(std::uint32_t index);
    void remove_entry(Subscription& subscription);
    void drop_subscription(Session& session, std::uint32_t tag);
    void on(JoinedMail& mail);
    void on(PartedMail& mail);
    void on(ReplyMail& mail);
    void on(DirectMail& mail);
    void on(DeliverMail& mail);
    void on(PresenceMail& mail);
    void on(EndAllMail& mail);
    void on(UserFrameMail& mail);

    // --- home.cpp: what a home hears and tells ---
    std::vector<std::unique_ptr<HomeChannel>> homes;
    std::vector<std::uint32_t> free_homes;
    StringMap<std::uint32_t> home_index;
    std::vector<bool> unreachable;                    // By partition.
    PresenceLimits presence_limits() const { return {settings->list_limit, settings->count_interval}; }
    HistoryLimits log_limits(const ChannelRef& ref) const;
    bool stale(const HomeChannel& channel) const { return channel.stale || unreachable[channel.partition]; }
    HomeChannel* find_home(const ChannelRef& ref);
    HomeChannel& home(const ChannelRef& ref);
    void listen(HomeChannel& channel);
    void settle(HomeChannel& channel);                // Tells what is due, schedules the rest, or lets go.
    void deliver(HomeChannel& channel, DeliverMail mail);
    void tell_presence(HomeChannel& channel);
    void tell_typing(HomeChannel& channel, const std::vector<TypingChange>& changes);
    void end_presence(HomeChannel& channel, const std::string& user, SessionRef session, Departure how);
    void on_home_deadline(HomeChannel& channel);
    void on(ListenMail& mail);
    void on(ReadyMail& mail);
    void on(Listening& event);
    void on(MembersChanged& event);
    void on(Broken& event);
    void on(TypingHeard& event);
    void on(Reach& event);

    // --- home_lane.cpp: the order of requests and their replies ---
    void take(HomeChannel& channel, SessionRef session, LaneItem item);
    void advance(HomeChannel& channel, SessionRef session);
    void done(HomeChannel& channel, SessionRef session);   // What made the lane busy is answered.
    void drop_lane(HomeChannel& channel, UnsubscribeMail& leave);
    void run(HomeChannel& channel, UnsubscribeMail& leave);
    void run(HomeChannel& channel, TypingMail& typing);
    void run(HomeChannel& channel, PresenceUpdateMail& update);
    void run(HomeChannel& channel, ReadMail& read);
    void run(HomeChannel& channel, BounceMail& bounce);
    void reply_presence(HomeChannel& channel, ReadMail& read);
    void on(SubscribeMail& mail);
    void on(UnsubscribeMail& mail);
    void on(TypingMail& mail);
    void on(PresenceUpdateMail& mail);
    void on(ReadMail& mail);
    void on(BounceMail& mail);

    // --- home_join.cpp ---
    void run(HomeChannel& channel, SubscribeMail& join);
    void advance_join(HomeChannel& channel, Lane& lane);
    void complete_join(HomeChannel& channel, Lane& lane, ReadAnswer* answer);
    void on(Entered& event);
    void on_join_read(HomeChannel& channel, SessionRef session, ReadAnswer& answer);

    // --- home_publish.cpp: messages ---
    void run(HomeChannel& channel, PublishMail& publication);
    void publish(PublishMail& publication);
    void tell_conflated(HomeChannel& channel, const std::vector<Conflation::Item>& items);
    void on(PublishMail& mail);
    void on(Published& event);
    void on(Delivered& event);
    void on(Ingress& event);
    void on(IngressMail& mail);

    // --- calls.cpp: the engine's answers find who asked ---
    CallId call_ids = 0;
    tsl::robin_map<CallId, PendingCall> calls;
    void tell_engine(auto call) {
        out->push_back(AskEngine{std::make_unique<EngineCall>(std::move(call))});
    }
    CallId expect(ChannelRef channel, auto what) {
        calls.emplace(++call_ids, PendingCall{std::move(channel), std::move(what)});
        return call_ids;
    }
    std::optional<PendingCall> take_call(CallId id);
    void on(ReadAnswer& event);
    void on(Erased& event);
    // Told only by an engine that has other nodes.
    void on(Heard&) {}
    void on(Doubt&) {}
    void on(Peers&) {}

    // --- user_home.cpp ---
    StringMap<UserHome> user_homes;
    ChannelRef user_ref(std::uint32_t app, std::string_view user) const { return {app, "@" + std::string(user)}; }
    HistoryLimits notification_limits() const { return {settings->notifications_size, settings->notifications_ttl}; }
    UserHome* find_user(const ChannelRef& ref);
    void let_go(const ChannelRef& ref);
    void read_for(UserHome& home, UserHome::Attaching& attaching);
    void renew(UserHome& home);
    void on_user_listening(UserHome& home, Listening& event);
    void on_user_broken(UserHome& home, Broken& event);
    void on_notification(UserHome& home, Delivered& event);
    void on_attach_read(UserHome& home, SessionRef session, ReadAnswer& answer);
    void on_renewal_read(UserHome& home, CallId call, ReadAnswer& answer);
    void on(AttachMail& mail);
    void on(DetachMail& mail);
    void on(AckMail& mail);
    void on(NotifyMail& mail);
    void on(Acknowledged& event);
    void on(AcknowledgedElsewhere& event);
    void tell_user(UserHome& home, SharedBytes text, std::optional<SessionRef> except);

    // --- backend.cpp ---
    std::map<std::uint64_t, Gathering> gathering;
    void ask(std::uint64_t token, std::uint32_t app, backend::Request request);
    void answer_now(std::uint64_t token, backend::Reply reply);
    void on(PublishAnswerMail& mail);
    void on(AskMail& mail);
    void on(AnswerMail& mail);
    void finish(std::uint64_t token, Gathering& gathered);
    void ask_presence(AskMail& asked);
    backend::Reply presence_reply(HomeChannel& channel, const AskMail& asked);
};

// Keys of this process's maps: an app's names never meet another's.
std::string key_of(std::uint32_t app, std::string_view name);
SharedBytes shared(const std::string& text);

}  // namespace starling::domain

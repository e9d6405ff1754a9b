#pragma once
// The inside of a shard, shared by the files that tell one story each: connect, commands, hub, home,
// home_lane, home_join, home_publish, user_home, calls, backend. Nothing outside src/domain includes it.

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/few.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/slot_index.h"
#include "base/slots.h"
#include "codec/native.h"
#include "domain/ended_sessions.h"
#include "domain/home_channel.h"
#include "domain/mail.h"
#include "domain/session_state.h"
#include "domain/shard.h"

namespace starling::domain {

namespace backend = codec::backend;

// A backend request whose answers are not all in, or one that another node passed on.
struct Gathering {
    struct Relay { std::string node; std::uint64_t question = 0; };
    std::optional<Relay> relay;
    backend::Request request;
    std::uint32_t missing = 0;
    bool many = false;
    std::vector<std::expected<backend::PublishResult, Error>> results;
    std::vector<backend::ChannelInfo> channels;
    std::vector<backend::ConnectionInfo> connections;
    std::uint64_t count = 0;
    // Of the other nodes.
    bool partial = false;
    std::vector<backend::ChannelInfo> remote_channels;
    std::vector<std::uint64_t> devices;
    std::vector<backend::NodeInfo> nodes;
};

// A question that other nodes are answering, at the first shard.
struct Consultation {
    ConsultMail asked;
    std::map<std::string, Peers::Peer> waiting;
    AnswerMail answer;
    bool found = false;
    std::vector<ChannelGrant> grants;
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
        enum class Kind : std::uint8_t { session, home, proof, consultation } kind;
        SessionId id;
        bool operator>(const Due& other) const { return at > other.at; }
    };
    std::priority_queue<Due, std::vector<Due>, std::greater<>> deadlines;
    std::deque<std::pair<Instant, SessionId>> opened;   // All wait equally long for `connect`, so in order.
    void wake_session(const Session& session, Instant at);
    void on_session_deadline(Session& session);

    // --- connect.cpp ---
    Slots<Session> sessions;
    std::uint64_t session_count = 0;
    SlotIndex users;                                  // app + user -> the newest of its open sessions.
    std::optional<std::uint32_t> newest_of(std::uint32_t app, std::string_view user) const;
    void add_to_user(Session& session);
    void remove_from_user(Session& session);
    EndedSessions ended;
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
    std::optional<std::string> check_resume(const Session& session, std::string_view token) const;
    void apply_claims(Session& session, codec::jwt::Claims& claims);
    void refresh(Session& session, native::RequestId request, const native::Refresh& command);

    // --- commands.cpp ---
    std::uint64_t tickets = 0;
    std::uint32_t tags = 0;
    enum class Permission : std::uint8_t { granted, refused, asked };
    void on_request(Session& session, native::Request request);
    void pace(Session& session);                      // Stops and goes on reading, by what is not answered.
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
    Slots<HubChannel> hub;
    SlotIndex hub_index;
    std::optional<std::uint32_t> find_hub(const ChannelRef& ref) const;
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
    Slots<std::unique_ptr<HomeChannel>> homes;        // Null: free.
    SlotIndex home_index;
    std::optional<std::uint32_t> find_home_slot(const ChannelRef& ref) const;
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
    std::optional<Instant> lease_renewed;    // Absent without a cluster.
    void on(LeaseRenewed&) { lease_renewed = now.instant; }
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
    void advance_joins(HomeChannel& channel, const std::string& user, bool entered);
    void complete_join(HomeChannel& channel, Lane& lane, ReadAnswer* answer);
    void on(Entered& event);
    void on_join_read(HomeChannel& channel, SessionRef session, ReadAnswer& answer);

    // --- home_publish.cpp: messages ---
    void run(HomeChannel& channel, PublishMail& publication);
    void publish(PublishMail& publication);
    void end_typing(HomeChannel& channel, const std::string& user, const std::string& message);
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

    // --- user_home.cpp ---
    Slots<UserHome> user_homes;                       // One without a name is free.
    SlotIndex user_home_index;
    std::optional<std::uint32_t> find_user_slot(const ChannelRef& ref) const;
    UserHome& user_home(const ChannelRef& ref);
    ChannelRef user_ref(std::uint32_t app, std::string_view user) const { return {app, "@" + std::string(user)}; }
    HistoryLimits notification_limits() const { return {settings->notifications_size, settings->notifications_ttl}; }
    SharedBytes last_epoch;                           // Shared by all positions that are in it.
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
    void drop_attaching(UserHome& home, SessionRef session);
    void on(DetachMail& mail);
    void on(AckMail& mail);
    void on(NotifyMail& mail);
    void on(Acknowledged& event);
    void on(AcknowledgedElsewhere& event);
    void tell_user(UserHome& home, SharedBytes text, std::optional<SessionRef> except);

    // --- admission.cpp: connections_per_user over the cluster ---
    bool full(const UserHome& home, const UserHome::Attaching& attaching) const;
    void refuse_attaching(UserHome& home, SessionRef session);
    void ask_elsewhere(const UserHome& home, UserHome::Attaching& attaching);
    std::vector<backend::ConnectionInfo> connections_before(std::uint32_t app, const control::Connections& asked);
    void on(ElsewhereMail& mail);

    // --- doubt.cpp: signs of life ---
    struct Proof {
        std::uint32_t partition = 0, home = 0;
        std::uint64_t round = 0;
        Instant until{};
        std::set<SessionId> waiting;
    };
    struct Doubting {
        std::uint64_t round = 0;
        std::uint32_t missing = 0;                    // Shards that have not reported.
    };
    std::vector<Proof> proofs;
    std::map<std::uint32_t, Doubting> doubts;         // By partition, at its home.
    std::uint64_t rounds = 0;
    void settle_proofs(SessionId id);
    void on_proof_deadline();
    void on(Doubt& event);
    void on(ProveMail& mail);
    void on(ProvenMail& mail);

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
    backend::NodeInfo node_info(const Gathering& gathered) const;
    std::vector<backend::ChannelInfo> channel_rows(std::uint32_t app, const backend::ListChannels& list) const;

    // --- consult.cpp: the other nodes, by way of the first shard ---
    std::vector<Peers::Peer> peers;                   // Told to the first shard alone; without this node.
    std::map<std::uint64_t, Consultation> consultations;
    std::map<std::uint64_t, Gathering::Relay> resume_relays;
    std::uint64_t questions = 0;
    std::map<std::string, Instant> silent;            // Nodes that let a heartbeat pass: not asked to resume until then.
    void consult(std::uint64_t token, std::uint32_t app, control::Ask ask);
    void conclude(std::uint64_t id);                  // All have answered, or their time is over.
    void pass_on(const std::string& node, control::Question& question);
    void take_answer(const std::string& node, control::Answer& answer);
    void answer_node(const Gathering::Relay& relay, control::Answer answer);
    void finish_relay(Gathering& gathered);
    void on(ConsultMail& mail);
    void on(Heard& event);
    void on(Peers& event);
};

// For this process's indexes: an app's names never meet another's.
std::uint64_t name_hash(std::uint32_t app, std::string_view name);
SharedBytes shared(const std::string& text);

}  // namespace starling::domain

#pragma once
// One partition of the cluster as this node sees it (docs/CLUSTER.md): its lease and incarnation, what this node
// contributes to the presence of the partition's channels, the leases of the others, and for each channel that is
// listened to the view of its members and the end of its log. Every rule R1 to R14 has its place here or in View.
//
//   lease:    none --up--> registering --> live --fenced, flushed, gap--> (doubting -->) registering ...
//   channel:  idle --wanted--> subscribing --confirmed--> syncing --position reached--> live --missed--> subscribing

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/apart.h"
#include "base/random.h"
#include "base/short_text.h"
#include "base/slot_index.h"
#include "base/slots.h"
#include "base/sorted.h"
#include "engine/engine.h"
#include "engine/log_end.h"
#include "engine/view.h"

namespace starling::engine {

class Partition {
 public:
    Partition(const ClusterSettings& settings, Redis& redis, std::uint32_t index, std::string tag, std::uint64_t seed);

    // Before anything else of a turn; a gap between two longer than a heartbeat is a discontinuity (R10).
    void begin(Now now, Output& out);

    // --- partition_channel.cpp: who listens, and what members it sees ---
    void on(domain::Listen& call, const std::string& wire);
    void on(domain::Unlisten& call, const std::string& wire);
    void on(domain::SignalTyping& call, const std::string& wire);
    void on_subscribed(const std::string& wire);
    void on_missed(const std::string& wire);
    void on_pushed(const std::string& wire, std::string_view payload);

    // --- partition_writer.cpp: what this node contributes ---
    void on(domain::Enter& call, const std::string& wire);
    void on(domain::Exit& call, const std::string& wire);
    void on(domain::Update& call, const std::string& wire);
    void on_proven();
    void retire();

    // --- partition_log.cpp: messages ---
    void on(domain::Publish& call, const std::string& wire);
    void on(domain::Read& call, const std::string& wire);
    void on(domain::Erase& call, const std::string& wire);
    void on(domain::Acknowledge& call, const std::string& wire);

    // --- partition.cpp: contact and answers; partition_lease.cpp: the lease and the others ---
    void start();
    void on_up(const std::string& server);
    void on_down();
    void on_answer(Answered& answer);
    std::optional<Instant> next_deadline() const;
    void on_deadline();
    // No contribution and no lease is left, or Redis is out of reach for so long that the others see to it.
    bool ended() const;
    // Live and draining nodes by their leases, this one included.
    std::vector<domain::Peers::Peer> peers() const;
    bool peers_changed() { return std::exchange(peers_changed_, false); }
    // A live lease states other constants: this node must not run.
    const std::optional<std::string>& mismatch() const { return mismatch_; }
    // How long there was no answer.
    Duration away(Instant at) const { return state_ == State::ended || !last_answer_ ? 0s : at - *last_answer_; }
    // Known to Redis, and not without an answer for half a lease.
    bool ready(Instant at) const { return state_ == State::ended || (registered_ && away(at) < settings_.lease / 2); }
    const LeaveCounts& leaves() const { return leaves_; }
    std::string channel_key(std::string_view wire) const { return base_ + "c:" + std::string(wire); }

 private:
    // A user's presence from this node; wanted in Redis while held or lingering.
    struct Own {
        ShortText user;
        Instant lingers_until{};
        std::int64_t connected_at : 56 = 0;
        bool held : 1 = false;
        bool lingering : 1 = false;
        bool acked : 1 = false;              // Redis has it, under the present incarnation.
        bool stated : 1 = false;             // Redis had it once: its record is the view's.
        bool linger_unsaid : 1 = false;      // Stands in unsaid_; ...
        bool linger_due : 1 = false;         // ... goes with the next call.
        bool timed_out : 1 = false;          // The linger is over; nothing was said of it yet.
        struct Rare {
            // R6. Where the chain stood when the last connection said farewell, and where Redis noted that the user lingers here.
            std::optional<std::pair<std::string, std::uint64_t>> farewell, lingers_since;
            std::optional<std::string> update;   // Data that Redis does not have yet.
            std::uint64_t update_serial = 0;
            std::optional<std::string> fallback;
        };
        Apart<Rare> rare;
        void trim() {
            if (rare && !rare->farewell && !rare->lingers_since && !rare->update && !rare->fallback) { rare.reset(); }
        }
        bool wanted() const { return held || lingering; }
        std::string_view key() const { return user.view(); }
    };
    // The log as a recovery read it, carried on by what is delivered: a storm of recoveries is one read.
    struct Kept {
        static constexpr std::size_t kBytesMax = 1 << 20;
        domain::History log;
        std::uint64_t acknowledged = 0;
        std::size_t bytes = 0;
        Instant until{};
    };
    using Names = std::set<std::string, std::less<>>;
    // There is one for each channel on each of its nodes, and for each user: what most of them are without at a time lies apart.
    struct Channel {
        enum class State : std::uint8_t { idle, subscribing, syncing, live };
        struct Syncing {
            std::vector<Delta> buffer;       // Since the confirmation.
            std::optional<Snapshot> paging;
            std::optional<std::pair<std::string, std::uint64_t>> must_reach;   // Of a fuzzy snapshot: live from this epoch and version on.
        };
        // META was ahead of the chain, or of the log: when, and at what version or offset.
        struct Behind { std::optional<std::pair<Instant, std::uint64_t>> chain, log; };
        struct Reading {
            std::vector<Announcement> early; // Came before the chain was known, or while the log is read.
            bool under_way = false, again = false;
            std::uint64_t id = 0;
            Position since;                  // The chain when the read was sent.
            std::vector<Message> delivered;  // While it is on its way.
            std::vector<domain::Read> next, asked;
        };
        // What is on its way, waits or is remembered for a while.
        struct Passing {
            std::uint64_t sync = 0;          // Which snapshot is on its way, while syncing, ...
            Instant since{};                 // ... and since when.
            Apart<Syncing> syncing;
            Apart<Behind> behind;
            Apart<Names> dirty;              // Users with something to say to Redis.
            Apart<Names> timed_out;          // Their linger is over, and their removal is on its way.
            Apart<Reading> reading;
            Apart<Kept> kept;
            Instant view_due = Instant::max();   // Not later than the view's own deadline.
            // Hashed ids of what was delivered last, up to the one before the chain's end; kept while the chain goes on.
            std::vector<std::uint64_t> recent;
        };

        SharedBytes key;                     // channel_key(), shared with the subscription to it: "st:{tag}:c:" and the name in Redis.
        std::uint32_t app : 24 = 0;
        State state : 2 = State::idle;
        bool listened : 1 = false;           // By the domain.
        bool told : 1 = false;               // Listening was answered.
        bool told_blind : 1 = false;         // ... without knowing the log.
        bool suspect : 1 = false;            // R3: the next snapshot is.
        std::uint16_t name_at = 0;           // Where the name begins in the key.
        std::uint16_t limits = 0;            // Of its log, in Partition::limits_.
        View view;
        Sorted<Own> own;
        LogEnd chain;
        Apart<Passing> passing;

        bool wanted() const { return listened || !own.empty(); }
        std::string_view name() const { return key.view().substr(name_at); }   // "<app>/<name>".
        std::string wire() const { return std::string(name()); }               // For whoever keeps it.
        std::string_view name_in_app() const { return name().substr(name().find('/') + 1); }
        domain::ChannelRef ref() const { return {app, std::string(name_in_app())}; }
        bool users_own() const { return name_in_app().starts_with('@'); }
        const Passing& peek() const { return passing.peek(); }
        std::uint64_t sync_id() const { return peek().sync; }
        const std::optional<std::pair<std::string, std::uint64_t>>& must_reach() const { return peek().syncing.peek().must_reach; }
        bool paging() const { return peek().syncing.peek().paging.has_value(); }
        bool reads() const { return peek().reading.peek().under_way; }
        const Behind& peek_behind() const { return peek().behind.peek(); }
        Syncing& need_syncing() { return passing.need().syncing.need(); }
        Reading& need_reading() { return passing.need().reading.need(); }
        // What is over is given back.
        void trim();
    };
    struct Op {
        std::string user;
        char kind = '+';
        std::uint64_t serial = 0;            // Of the data; of `l`, when the linger ends.
        std::uint64_t hash = 0;
    };
    // The one call of the writer that has no answer yet; sent again with the same oseq until it has.
    struct Flight {
        enum class Kind : std::uint8_t { reg, beat, apply, end } kind = Kind::beat;
        Token token = 0;                     // 0: waits to be sent again.
        std::string iid;
        struct Group {
            std::string wire;
            std::vector<Op> ops;
        };
        std::vector<Group> groups;           // Each channel once.
        std::vector<std::string> args;
        Instant sent{};
    };
    struct Lease {
        std::int64_t o = -1;
        Instant since{};                     // First of my reads, without a hole, that found this o.
        Instant rose{};                      // The last of my reads after which the next one found a higher o.
        std::string state, address, constants;
        bool reaping = false;
    };
    struct Pending {
        enum class Kind : std::uint8_t { snap, page, reach, meta, holders, reap, publish, read, page_read, erase, acknowledge };
        Kind kind = Kind::snap;
        std::string wire;                    // Or the incarnation, for reap.
        std::vector<std::string> wires;      // Of meta; users, of holders ...
        std::string looks;                   // ... and what of each, of meta.
        std::vector<std::pair<std::string, std::uint64_t>> syncs;   // Of snap: channels, and which sync of each.
        domain::CallId call = 0;
        std::optional<domain::Read> read;
        std::uint32_t tries = 0;
    };

    Instant now() const { return now_.instant; }
    Token draw(Pending pending);
    std::string random_word() { return rng_.word(10); }
    void eval(Pending pending, const Script& script, std::vector<std::string> args);
    std::string publish_command() const { return redis_.sharded() ? "SPUBLISH" : "PUBLISH"; }
    void tell(domain::EngineEvent event) { out_->events.push_back(std::move(event)); }

    // partition.cpp
    void discontinuity();
    void lost_data(Instant since);
    void heed(std::string_view iid);
    bool cut_off() const;
    bool blind() const;
    bool blind(const Channel& channel) const { return blind() || channel.state != Channel::State::live; }
    bool log_in_doubt(const Channel& channel) const;
    void consider_reach();
    void run_views();
    void set_view_due(Channel& channel, Instant at);

    // partition_lease.cpp
    void on_lease_answer(Flight& flight, const codec::resp::Value& value);
    void on_leases(const codec::resp::Value& list);
    void new_incarnation(bool in_doubt);
    void register_lease();
    void reap_silent();
    void end_old();
    void reap(const std::string& iid, const std::string& expected);

    // partition_writer.cpp
    bool contributes() const;
    void pump();                             // Sends the next call of the writer.
    void send(Flight flight);
    void on_flight(Answered& answer);
    void on_applied(Flight& flight, const codec::resp::Value& value);
    void mark(Channel& channel, std::string_view user);
    void drop(Channel& channel, const std::string& user);
    bool entered(const Channel& channel, const std::string& user, const Own& own) const;
    void tell_if_entered(Channel& channel, const std::string& user, Own& own);
    void tell_entered(Channel& channel, const std::string& user, Own& own);
    void run_out_lingers();
    void owe_linger(const Channel& channel, Own& own);
    void say_lingers();
    std::vector<std::string> operation(Channel& channel, const std::string& user, Op& op);
    void fill(Flight& flight);

    // partition_channel.cpp
    Channel& channel(const std::string& wire, const domain::ChannelRef& ref);
    std::optional<std::uint32_t> slot_of(std::string_view wire) const;
    Channel* find(std::string_view wire) const;
    void want(Channel& channel);             // Subscribes, or lets go.
    const domain::HistoryLimits& log_of(const Channel& channel) const { return limits_[channel.limits]; }
    void set_log(Channel& channel, const domain::HistoryLimits& limits);
    void sync(Channel& channel);
    void start_syncs();
    void on_snaps(const Pending& pending, const codec::resp::Value* value);
    void syncs_refused();
    void on_snap(Channel& channel, const codec::resp::Value& value);
    void on_page(Channel& channel, const codec::resp::Value& value);
    void on_reach(Channel& channel, const codec::resp::Value& value);
    void take_snapshot(Channel& channel, Snapshot snapshot);
    void try_live(Channel& channel);
    void on_delta(Channel& channel, Delta& delta);
    bool end_timed_out(Channel& channel, const std::string& user);   // True: the removal was on its way.
    void tell_members(Channel& channel, domain::MembersChanged changes);
    void tell_listening(Channel& channel, bool stale);

    // partition_look.cpp
    void look_around();                      // META of the next channels.
    void on_meta(const Pending& pending, const codec::resp::Value& value);
    void on_members_position(Channel& channel, std::string_view epoch, std::uint64_t version, std::int64_t digest);
    void on_log_look(Channel& channel, std::string_view epoch, std::uint64_t offset, std::string_view id);
    void ask_holders();                      // Of those whom a suspect snapshot brought back (R4).
    void on_holders(Channel& channel, const std::vector<std::string>& users, const codec::resp::Value& value);

    // partition_log.cpp
    void on_announcement(Channel& channel, Announcement& announcement);
    void deliver(Channel& channel, Message message, std::string except);
    void on_log_position(Channel& channel, Position top);
    void broken(Channel& channel, std::optional<Position> top);
    void read_log(Channel& channel);
    void on_log(Channel& channel, const codec::resp::Value& value);
    void fail_reads(Channel& channel, const std::string& reason);
    void on_log_failed(Channel& channel, const std::string& reason);
    void read_page(domain::Read call, const std::string& wire, std::uint32_t tries);
    void on_page_read(Pending& pending, const codec::resp::Value& value);
    void answer(const domain::Read& read, const domain::History& log, std::uint64_t acknowledged);
    void replay_early(Channel& channel);
    bool answer_from_chain(const std::string& wire, const domain::Read& read);
    void note_recent(Channel& channel);

    // partition_kept.cpp
    void keep(Channel& channel, const domain::History& log, std::uint64_t acknowledged);
    bool answer_from_kept(Channel& channel, const domain::Read& read);
    void forget_kept();                      // Those whose time is over.

    const ClusterSettings& settings_;
    Redis& redis_;
    std::uint32_t index_;
    std::string base_;                       // "<prefix>:{tag}:"
    Rng rng_;
    Now now_;
    Output* out_ = nullptr;

    // Contact.
    bool up_ = false;
    std::string server_;
    std::optional<Instant> last_turn_, last_answer_;
    Instant settled_at_{};                   // Of the last discontinuity.
    Instant lost_since_{};                   // R3: Redis lost data not before ...
    std::optional<Instant> lost_until_;      // ... and who is missing may be stated until.
    Instant began_{};
    std::optional<Instant> heeds_until_ = Instant::max();   // For the hold time after the first lease.
    bool reach_told_ = true;

    // Own lease.
    enum class State : std::uint8_t { none, doubting, registering, live, ended } state_ = State::none;
    std::uint64_t incarnation_ = 0;
    std::string iid_;
    std::int64_t oseq_ = 0;                  // Acknowledged.
    std::int64_t digest_ = 0;                // Of what Redis has acknowledged.
    bool retired_ = false;
    bool registered_ = false;                // Once.
    LeaveCounts leaves_;
    std::set<std::string> old_;              // Incarnations of mine to be ended.
    std::optional<Flight> flight_;
    Instant next_beat_{}, next_tick_{};
    std::set<std::string> dirty_channels_;
    std::string pumped_;                     // The channel of the last call.
    std::set<std::pair<Instant, std::pair<std::string, std::string>>> lingers_;
    std::deque<std::pair<std::string, std::string>> unsaid_;   // Who began to linger, in this order: channel and user ...
    static constexpr std::uint32_t kLingersSaidMax = 16;       // ... of whom so many are said in a heartbeat,
    std::uint32_t lingers_to_say_ = kLingersSaidMax;           // and so many may be before the next one.

    // The others.
    std::map<std::string, Lease> leases_;
    std::optional<Instant> last_look_;       // At the leases.
    bool peers_changed_ = false;
    std::optional<std::string> mismatch_;

    // Channels.
    Slots<std::unique_ptr<Channel>> channels_;   // Null: free.
    std::vector<domain::HistoryLimits> limits_{domain::HistoryLimits{}};   // Those of channels' logs, each once.
    SlotIndex channel_index_;
    std::deque<std::string> to_sync_;
    std::uint32_t syncing_ = 0;              // Calls for snapshots without an answer.
    Instant syncs_from_{};                   // Not before: the last one was refused ...
    Duration sync_pause_{};                  // ... and for so long they wait then.
    std::int64_t counter_seen_ = -1, members_seen_ = -1;   // The partition's n and np.
    std::uint32_t look_from_ = 0;            // The slot where look_around goes on.
    // What is looked at, members or logs, in rounds through all channels. A round that has begun without it, or before it was
    // owed, is followed by another.
    struct Looks {
        std::uint32_t rounds = 0;            // Still to come, with the present one.
        bool now = false;                    // The present round looks at it.
        void owe() { rounds = now ? 2 : 1; }
        void begin() { now = rounds > 0; }
        void end() {
            if (std::exchange(now, false)) { --rounds; }
        }
    };
    Looks members_looks_, log_looks_;
    std::uint32_t metas_ = 0;                // Without an answer.
    Instant keep_alive_at_{};                // The next round after it keeps logs alive ...
    bool keeping_alive_ = false;             // ... and this one does.
    std::set<std::string> stale_listens_;    // Listening is owed.
    std::set<std::pair<std::string, std::string>> owed_;   // Entered is owed: channel and user.
    std::set<std::string> catching_up_;      // With must_reach.
    std::deque<std::pair<Instant, std::string>> kept_;   // Until when a log was kept in memory, and of which channel.
    std::set<std::string> unconfirmed_;      // With members whom R4 hides ...
    std::string holders_asked_;              // ... and the last one whose holders were asked for.
    std::set<std::string> idle_;             // Perhaps nobody wants them any more.
    std::set<std::pair<Instant, std::uint32_t>> timed_views_;   // Slots of channels whose views have a deadline, by `view_due`.

    std::uint64_t serial_ = 0, sync_serial_ = 0, read_serial_ = 0, update_serial_ = 0;
    std::map<Token, Pending> pending_;
};

}  // namespace starling::engine

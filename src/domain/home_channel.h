#pragma once
// What a shard keeps of a channel and of a user whose home it is. Included by state.h alone.

#include <bitset>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/apart.h"
#include "base/few.h"
#include "base/short_text.h"
#include "domain/conflation.h"
#include "domain/mail.h"
#include "domain/presence_holders.h"
#include "domain/presence_view.h"
#include "domain/settings.h"
#include "domain/typing.h"

namespace starling::domain {

// How far the home hears of the channel: `told` by Listening, `ready` once the members that follow it are in.
enum class Hearing : std::uint8_t { off, asked, told, ready };

// A subscribe on its way. It waits for the channel's chain, then for its user's Entered, then for the log.
struct PendingJoin {
    SubscribeMail mail;
    CallId read = 0;                         // The log has been asked for.
    bool entering = false;                   // Its Enter is not answered yet.
};

// Requests of one session for one channel are answered in order: publishes overlap, for the engine answers
// them in order; anything else waits for what is before it.
using LaneItem =
    std::variant<SubscribeMail, UnsubscribeMail, PublishMail, TypingMail, PresenceUpdateMail, ReadMail, BounceMail>;
struct Lane {
    std::uint32_t publishes = 0;             // On their way.
    bool busy = false;                       // Something else is on its way.
    std::unique_ptr<PendingJoin> join;
    std::unique_ptr<ReadMail> view_read;     // presence.get that waits for the view.
    std::vector<LaneItem> waiting;
    bool idle() const { return publishes == 0 && !busy && waiting.empty(); }
};

// A position of which there is one for each user and channel here, while epochs are few: they are shared.
class KnownPosition {
 public:
    void set(const std::optional<Position>& position, SharedBytes& last_epoch) {
        *this = {};
        if (!position) { return; }
        if (!last_epoch || last_epoch.view() != position->epoch) { last_epoch = SharedBytes(position->epoch); }
        epoch_ = last_epoch;
        advance(position->offset, position->id);
    }
    void advance(std::uint64_t offset, std::string_view id) {
        if (!epoch_) { return; }
        offset_ = offset;
        id_ = id.empty() ? SharedBytes() : SharedBytes(id);
    }
    std::optional<Position> told() const { return epoch_ ? std::optional(get()) : std::nullopt; }
    Position get() const { return {std::string(epoch_.view()), offset_, std::string(id_.view())}; }

 private:
    SharedBytes epoch_, id_;                 // No epoch: it is not known.
    std::uint64_t offset_ = 0;
};

struct HomeChannel {
    ChannelRef ref;
    std::uint32_t partition = 0;
    std::bitset<kShardsMax> listeners;       // By shard.
    Hearing hearing = Hearing::off;
    bool stale = false;                      // Listening said so.
    HistoryLimits log;                       // As the engine was told.
    KnownPosition top;                       // The last one delivered.
    Instant leave_at = Instant::max();       // Nothing needs the channel's events; they go on until then.
    PresenceView view;
    PresenceHolders holders;
    Typing typing;
    Conflation conflation;
    Instant scheduled = Instant::max();

    // What is on its way.
    struct Passing {
        std::map<SessionRef, Lane> lanes;
        std::uint32_t view_waits = 0;        // Joins and reads that wait for the view or the log.
        std::vector<AskMail> asks;           // Of the backend, for the view.
        std::vector<std::string> ended_typing;   // Messages that ended their user's typing before they were delivered.
    };
    Apart<Passing> passing;
    Lane* find_lane(SessionRef session) {
        if (!passing) { return nullptr; }
        const auto it = passing->lanes.find(session);
        return it == passing->lanes.end() ? nullptr : &it->second;
    }
    Lane& lane(SessionRef session) { return passing.need().lanes[session]; }
    bool waited_for() const { return passing.peek().view_waits > 0 || !passing.peek().asks.empty(); }
    void trim() {
        if (passing && passing->lanes.empty() && !waited_for() && passing->ended_typing.empty()) { passing.reset(); }
    }
};

struct UserHome {
    struct Attaching {
        AttachMail mail;
        CallId read = 0;
        bool refused = false;                // The log does not continue the position that the client gave.
        bool asking = false;                 // Other nodes are asked for the user's connections there:
        std::vector<std::string> elsewhere;  // these, each once.
    };
    ShortText name;                          // "@" + user id; empty: this place is free.
    std::uint32_t app = 0;
    std::uint32_t partition = 0;
    Hearing hearing = Hearing::off;
    bool stale = false;
    Few<SessionRef> sessions;                // Attached.
    Apart<std::vector<Attaching>> attaching;
    KnownPosition top;
    CallId renewal = 0;                      // The position began anew and the log is being read.
    ChannelRef ref() const { return {app, std::string(name.view())}; }
    bool is(const ChannelRef& ref) const { return app == ref.app && name == ref.name; }
    std::string_view user_id() const { return name.view().substr(1); }
};

// What becomes of an answer of the engine.
struct PublishCall {
    std::optional<SessionRef> session;
    codec::native::RequestId request;
    std::uint64_t token = 0;
    std::uint32_t token_shard = 0, part = 0;
    std::string user_id;                     // Of the message.
};
struct JoinCall { SessionRef session; };
struct HistoryCall { SessionRef session; codec::native::RequestId request; };
struct BackendReadCall { std::uint64_t token = 0; std::uint32_t from = 0; };
struct AttachCall { SessionRef session; };
struct RenewCall {};
struct EraseCall { std::uint64_t token = 0; std::uint32_t from = 0; };
struct AckCall { SessionRef session; codec::native::RequestId request; std::uint64_t offset = 0; };
struct PendingCall {
    ChannelRef channel;
    std::variant<PublishCall, JoinCall, HistoryCall, BackendReadCall, AttachCall, RenewCall, EraseCall, AckCall> what;
};

}  // namespace starling::domain

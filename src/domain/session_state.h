#pragma once
// What a shard keeps of its sessions, and of the channels that they listen to. Included by state.h alone.

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/apart.h"
#include "base/few.h"
#include "base/short_text.h"
#include "codec/native.h"
#include "domain/mail.h"
#include "domain/permissions.h"

namespace starling::domain {

namespace native = codec::native;

constexpr Duration kAnswerHolds = 10s;       // Of the application, without a subscription.

// Frames a second with a burst: refilled by time, no timer of its own. When it will be full again says
// how full it is now.
class TokenBucket {
 public:
    bool try_take(double rate, double burst, Instant now) {
        constexpr double kNever = 1e-6;
        const Duration each(static_cast<std::int64_t>(1e9 / std::max(rate, kNever)));
        const Instant full = std::max(full_, now);
        const double level = burst - static_cast<double>((full - now).count()) / static_cast<double>(each.count());
        if (level < 1) { return false; }
        full_ = full + each;
        return true;
    }

 private:
    Instant full_{};
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
    bool none() const { return count_ == 0; }

 private:
    Instant first_{};
    std::uint32_t count_ = 0;
};

constexpr std::uint32_t kNoSlot = 0xffffffff;

struct Subscription {
    enum class Status : std::uint8_t { pending, active, leaving };
    std::uint32_t tag = 0;
    std::uint32_t hub = 0;                   // Index into Shard::State::hub.
    std::uint32_t entry = 0;                 // Index into HubChannel::entries while active or leaving.
    Status status = Status::pending;
    bool joined : 1 = false;                 // Has a hub entry.
    bool present : 1 = false;
    bool sees : 1 = false;                   // Watches presence.
    Rights granted = 0;                      // By a channel token, the application or the backend.
};
static_assert(sizeof(Subscription) == 16);

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
    std::uint32_t app : 24 = 0;
    State state : 7 = State::fresh;
    bool used : 1 = false;
    std::uint32_t next_of_user = kNoSlot;    // The user's sessions here, the newest first.
    ShortText user;
    std::int64_t connected_at = 0;
    std::int64_t exp_ms = 0;                 // 0: never.
    Grants grants;
    Few<Subscription> subscriptions;
    TokenBucket bucket;

    std::string user_id() const { return std::string(user.view()); }

    // When the channel token of a subscription ends, by its tag; absent: it holds as long as the subscription.
    Apart<std::map<std::uint32_t, std::int64_t>> ends_ms;
    std::int64_t expires_ms(const Subscription& subscription) const {
        const auto it = ends_ms.peek().find(subscription.tag);
        return it == ends_ms.peek().end() ? 0 : it->second;
    }
    void forget_end(std::uint32_t tag) {
        if (ends_ms && ends_ms->erase(tag) > 0 && ends_ms->empty()) { ends_ms.reset(); }
    }

    // What a session has on its way in and in rare hours, and is without in between.
    struct More {
        bool resumed = false;
        Instant opened{};
        native::RequestId connect_id;
        std::optional<Position> notifications;
        std::string replaces;                    // The connection that it resumes, until attached.
        std::vector<std::string> auto_channels;  // Of the token; subscribed once connected.
        std::optional<std::string> info;
        std::vector<ChannelGrant> channel_grants;
        std::vector<Waiting> waiting;
        Strikes refused, bad;
        std::optional<Instant> drain_close;
        std::uint32_t reads = 0, joins = 0;      // Asked of homes and not answered; as large as recover_bytes each.
        bool paced = false;                      // So many that nothing more is read.
    };
    Apart<More> more;
    void trim() {
        if (more && state == State::open && more->auto_channels.empty() && !more->info && more->channel_grants.empty() &&
            more->waiting.empty() && more->refused.none() && more->bad.none() && !more->drain_close &&
            more->reads == 0 && more->joins == 0 && !more->paced) {
            more.reset();
        }
    }
};

struct HubEntry {
    SessionId session;
    std::uint32_t tag = 0;
    Watch watch : 2 = Watch::none;
    std::uint32_t joined_at : 30 = 0;        // Of its snapshot, until presence is told once after it (mark_of); 0: before.
    static std::uint32_t mark_of(std::uint64_t presence_point) { return static_cast<std::uint32_t>(presence_point % 0x3fffffff) + 1; }
};
static_assert(sizeof(HubEntry) == 16);
struct HubChannel {
    ShortText name;
    std::uint32_t app = 0;
    std::uint32_t partition = 0;
    std::uint32_t references = 0;            // Subscriptions, pending ones too; 0: free.
    std::vector<HubEntry> entries;
    ChannelRef ref() const { return {app, std::string(name.view())}; }
    bool is(const ChannelRef& ref) const { return app == ref.app && name == ref.name; }
};

}  // namespace starling::domain

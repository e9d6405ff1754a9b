#pragma once
// What a shard keeps of its sessions, and of the channels that they listen to. Included by state.h alone.

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "codec/native.h"
#include "domain/mail.h"
#include "domain/permissions.h"

namespace starling::domain {

namespace native = codec::native;

constexpr Duration kAnswerHolds = 10s;       // Of the application, without a subscription.

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
    std::uint32_t partition = 0;
    std::uint32_t references = 0;            // Subscriptions, pending ones too; 0: free.
    std::vector<HubEntry> entries;
};

struct Ended {
    std::uint32_t app = 0;
    std::string user_id;
    bool resumable = false;
    std::vector<ChannelGrant> grants;
};

}  // namespace starling::domain

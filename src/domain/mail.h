#pragma once
// What shards say to each other: values only, first in first out for each pair. The order of one
// channel's events at a subscriber follows from that alone: its home sends `Joined`, what happens
// after it, and `Parted`, through one queue.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "codec/backend.h"
#include "codec/native.h"
#include "domain/control.h"
#include "domain/engine.h"
#include "domain/session_ref.h"
#include "domain/settings.h"

namespace starling::domain {

// Why a subscription ends, with what the client is told.
struct Ending {
    Departure departure = Departure::clean;
    bool told = true;                        // A frame goes to the client.
    codec::native::RequestId request;
    std::string code, reason;                // Empty where the client asked for it.
};

// --- session -> home of the channel ---
struct SubscribeMail {
    SessionRef session;
    std::uint32_t tag = 0;                   // Names the subscription on its shard.
    ChannelRef channel;
    std::string user_id;
    codec::native::RequestId request;
    bool told = true;                        // `subscribe` without id gets no `subscribed`.
    bool history = false;                    // Has the right.
    bool present = false;
    std::optional<std::string> data, fallback;
    Watch watch = Watch::none;
    std::optional<Position> recover;
};
struct UnsubscribeMail {
    SessionRef session;
    std::uint32_t tag = 0;
    ChannelRef channel;
    std::string user_id;
    bool gone = false;                       // The session has ended: nothing goes back.
    Ending ending;
};
struct PublishMail {
    ChannelRef channel;
    std::optional<SessionRef> session;       // Who gets `published`; absent: the backend.
    codec::native::RequestId request;
    std::string key_owner;                   // Keys of clients are apart for each user; "" is the backend's.
    Message message;
    std::optional<std::string> key;
    std::string except;                      // A connection id, of any node; "": nobody.
    std::uint64_t token = 0;                 // The backend's request, answered by PublishAnswer.
    std::uint32_t token_shard = 0, part = 0;
};
struct TypingMail {
    ChannelRef channel;
    std::optional<SessionRef> session;
    std::string user_id;
    bool active = true;
    codec::native::RequestId request;
};
struct PresenceUpdateMail {
    ChannelRef channel;
    SessionRef session;
    std::string user_id, data;
    codec::native::RequestId request;
};
struct ReadMail {                            // presence.get or history.get
    ChannelRef channel;
    SessionRef session;
    codec::native::RequestId request;
    std::optional<codec::native::HistoryGet> history;
};
// An answer that only the session decides still goes by way of the home, behind the answers before it.
struct BounceMail {
    ChannelRef channel;
    SessionRef session;
    SharedBytes text;
};
// The members that follow `Listening` are in the view by now: sent by a home to itself.
struct ReadyMail {
    ChannelRef channel;
};
struct ListenMail {                          // This shard has no subscriber of the channel any more.
    ChannelRef channel;
    std::uint32_t shard = 0;
};

struct IngressMail {                         // By plain Redis PUBLISH, which the first shard hears.
    ChannelRef channel;
    std::string data;
};

// --- home -> shards that listen ---
struct JoinedMail {
    SessionId session;
    std::uint32_t tag = 0;
    Watch watch = Watch::none;
    std::uint64_t presence_point = 0;
    SharedBytes text;                        // `subscribed`; null where none is told.
};
struct PartedMail {
    SessionId session;
    std::uint32_t tag = 0;
    SharedBytes text;
};
struct ReplyMail {
    SessionId session;
    SharedBytes text;
    bool read = false;                       // Answers a ReadMail.
};
struct DirectMail {                          // Like any message, it counts against the queue.
    SessionId session;
    SharedBytes text;
};
struct DeliverMail {                         // To every subscriber.
    ChannelRef channel;
    SharedBytes text;
    std::optional<SessionRef> except;
    SharedBytes except_text;                 // What that one gets instead; null: nothing.
    std::string except_user;                 // Typing is not told to who types.
    Instant accepted{};                      // When the publisher's frame came, by its time; for the latency.
    bool droppable = false;                  // A message under slow_consumer = "latest".
};
struct PresenceMail {                        // To those who watch.
    struct Group {
        std::uint64_t since = 0;
        SharedBytes text;                    // Null: nothing changed for them.
    };
    ChannelRef channel;
    std::vector<Group> groups;
    SharedBytes to_lists, to_counters;
    Instant oldest{};                        // When the first change told here happened.
};
struct EndAllMail {                          // Every subscription of the channel ends.
    ChannelRef channel;
    SharedBytes text;
};

// --- connect ---
struct ResumeAskMail {
    SessionRef session;
    std::uint64_t relay = 0;                 // Not 0: another node asks, and the first shard answers it.
    SessionId old;
    std::uint32_t app = 0;
    std::string user_id;
};
struct ResumeAnswerMail {
    SessionId session;
    std::uint64_t relay = 0;
    bool resumed = false;
    std::vector<ChannelGrant> grants;
};
struct AttachMail {                          // To the user's home.
    SessionRef session;
    std::uint32_t app = 0;
    std::string user_id;
    std::optional<Position> notifications;
    std::string replaces;                    // The connection that it resumes; "": none.
};
struct ElsewhereMail {                       // To the user's home: its connections on other nodes.
    SessionRef session;                      // For whose sake they were asked.
    std::uint32_t app = 0;
    std::string user_id;
    std::vector<std::string> connections;
};
struct AttachedMail {
    SessionId session;
    std::optional<Error> refused;
    codec::native::NotificationState notifications;
};
struct DetachMail {
    SessionRef session;
    std::uint32_t app = 0;
    std::string user_id;
};
struct AckMail {
    SessionRef session;
    std::uint32_t app = 0;
    std::string user_id;
    std::uint64_t offset = 0;
    codec::native::RequestId request;
};
struct NotifyMail {
    std::uint32_t app = 0;
    std::string user_id;
    Message message;
    std::optional<std::string> key;
    std::uint64_t token = 0;
    std::uint32_t token_shard = 0, part = 0;
};
struct UserFrameMail {                       // To the user's sessions on this shard.
    std::uint32_t app = 0;
    std::string user_id;
    SharedBytes text;
    std::optional<SessionRef> except;
};

// --- home of a partition -> every shard, and back ---
struct ProveMail {
    std::uint32_t partition = 0, home = 0;
    std::uint64_t round = 0;
};
struct ProvenMail {                          // Behind the leaves of those who showed no sign of life.
    std::uint32_t partition = 0;
    std::uint64_t round = 0;
};

// --- backend requests ---
struct PublishAnswerMail {
    std::uint64_t token = 0;
    std::uint32_t part = 0;
    std::expected<codec::backend::PublishResult, Error> result;
};
struct AskMail {                             // A home, or with ListChannels and the user's calls each shard.
    std::uint64_t token = 0;
    std::uint32_t from = 0, app = 0;
    codec::backend::Request request;
    std::vector<std::string> devices_of;     // Not empty: how many connections these users have, instead.
    std::optional<control::Connections> connections_of;    // Instead, to the user's home.
};
struct AnswerMail {
    std::uint64_t token = 0;
    std::optional<codec::backend::Reply> reply;            // Whole: one home answered.
    // Parts of what all shards answer together, or, by way of the first shard, what the other nodes answered.
    bool from_nodes = false;
    bool partial = false;                                  // A node did not answer in time.
    std::vector<codec::backend::ChannelInfo> channels;
    std::vector<codec::backend::ConnectionInfo> connections;
    std::uint64_t count = 0;
    std::vector<std::uint64_t> devices;                    // In the order that was asked.
    std::vector<codec::backend::NodeInfo> nodes;
};

// --- to the first shard: a question for the other nodes ---
struct ConsultMail {
    std::uint64_t token = 0;                 // Of the backend's request, answered by AnswerMail ...
    std::uint32_t from = 0;
    SessionRef session;                      // ... or who wants to resume, answered by ResumeAnswerMail,
                                             // or who is one more of its user, answered by ElsewhereMail.
    std::uint32_t app = 0;
    control::Ask ask;
};

struct Mail {
    std::variant<IngressMail, SubscribeMail, UnsubscribeMail, PublishMail, TypingMail, PresenceUpdateMail, ReadMail, BounceMail,
                 ReadyMail, ListenMail, JoinedMail, PartedMail, ReplyMail, DirectMail, DeliverMail, PresenceMail, EndAllMail, ResumeAskMail,
                 ResumeAnswerMail, AttachMail, ElsewhereMail, AttachedMail, DetachMail, AckMail, NotifyMail, UserFrameMail,
                 ProveMail, ProvenMail, PublishAnswerMail, AskMail, AnswerMail,
                 ConsultMail>
        body;
};

}  // namespace starling::domain

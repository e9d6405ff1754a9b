#pragma once
// What nodes ask each other beside the channels: questions of the backend about the whole cluster, and whether a
// connection may be resumed. Binary: numbers of fixed size, least byte first; texts with their size before them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "codec/backend.h"
#include "domain/settings.h"

namespace starling::domain {

// What an application or a channel token granted, taken along by a session that resumes.
struct ChannelGrant {
    std::string channel;
    Rights rights = 0;
    std::int64_t expires_ms = 0;             // 0: as long as the subscription.
    bool operator==(const ChannelGrant&) const = default;
};

namespace control {

namespace backend = codec::backend;

struct CountDevices { std::vector<std::string> users; };
struct ResumeFrom { std::string connection_id, user_id; };
// Which connections the user has, those included that are on their way and come before this one.
struct Connections { std::string user_id, connection_id; };
using Ask = std::variant<backend::GetUser, backend::ListChannels, backend::DisconnectUser, backend::SubscribeUser,
                         backend::UnsubscribeUser, backend::SendDirect, backend::GetNodes, CountDevices, ResumeFrom,
                         Connections>;
struct Question {
    std::uint64_t id = 0;                    // Of the node that asks.
    std::string app;                         // Its id: indexes are a node's own.
    Ask ask;
};
struct Answer {
    std::uint64_t id = 0;
    bool found = false;                      // The connection is here; or: it may be resumed.
    std::uint64_t count = 0;
    std::vector<std::uint64_t> devices;      // In the order of CountDevices::users.
    std::vector<backend::ChannelInfo> channels;
    std::vector<backend::ConnectionInfo> connections;
    std::vector<backend::NodeInfo> nodes;
    std::vector<ChannelGrant> grants;
};

std::string encode(Question question);
std::string encode(Answer answer);
// Nothing: malformed, or of a version that is not ours.
std::optional<std::variant<Question, Answer>> decode(std::string_view payload);

}  // namespace control
}  // namespace starling::domain

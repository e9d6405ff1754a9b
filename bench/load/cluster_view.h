#pragma once
// What one client was told of its room, judged against what is so. A room is small, and all its members belong
// to one process, so a view is a bit for each member and the truth is at hand.

#include <cstdint>
#include <string_view>

#include "load/cluster_board.h"
#include "load/cluster_options.h"

namespace starling::bench {

inline constexpr std::uint32_t kLingerMs = 5000;         // As the nodes are told.
inline constexpr std::uint32_t kSlackMs = 100;           // Between a client's clock reading and the node's.

// Where a member is, by its own account.
struct Whereabouts {
    bool present = false;                    // It is subscribed, or has asked for it.
    bool confirmed = false;                  // It has been told so: its absence is over.
    bool farewell = false;                   // It unsubscribed: a leave may be told at once.
    std::uint32_t since_ms = 0;              // It is away since; 0: it never was here.
    std::uint32_t absence_ms = 0;            // How long it was away before it was confirmed.
};

using View = std::uint16_t;                  // One bit for each member of the room.

// A leave is false of a member who is back before the linger was over, or whose linger is not over yet.
bool leave_is_false(const Whereabouts& member, std::uint32_t now_ms);
// A join is false of a member who has not asked to be here and is away for longer than the lease of a dead node.
bool join_is_false(const Whereabouts& member, std::uint32_t now_ms);

void see_join(View& view, unsigned bit, const Whereabouts& member, std::uint32_t now_ms, ClusterPart& part);
void see_leave(View& view, unsigned bit, const Whereabouts& member, std::uint32_t now_ms, ClusterPart& part);

// Calls `each` with the number in every `"userId":"user-N"` of `text`; returns how many there were.
template <typename Each>
std::uint32_t each_user(std::string_view text, const Each& each) {
    constexpr std::string_view kMark = R"("userId":"user-)";
    std::uint32_t count = 0;
    for (std::size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at)) {
        at += kMark.size();
        std::uint32_t user = 0;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) { user = user * 10 + static_cast<std::uint32_t>(text[at] - '0'); }
        ++count;
        each(user);
    }
    return count;
}

// The array of presence.diff with this name; joins, updates and leaves come in this order.
std::string_view list_in(std::string_view frame, std::string_view name, std::string_view next);

}  // namespace starling::bench

#include "load/cluster_view.h"

namespace starling::bench {

bool leave_is_false(const Whereabouts& member, std::uint32_t now_ms) {
    if (member.farewell) { return false; }
    const std::uint32_t away = member.confirmed ? member.absence_ms : now_ms - member.since_ms;
    return away + kSlackMs < kLingerMs;
}

bool join_is_false(const Whereabouts& member, std::uint32_t now_ms) {
    if (member.present) { return false; }
    return member.since_ms == 0 || now_ms - member.since_ms > 3 * kLingerMs;
}

void see_join(View& view, unsigned bit, const Whereabouts& member, std::uint32_t now_ms, ClusterPart& part) {
    ++part.joins;
    if ((view >> bit & 1) != 0) { ++part.repeated_joins; }
    if (join_is_false(member, now_ms)) { ++part.false_joins; }
    view = static_cast<View>(view | 1U << bit);
}

void see_leave(View& view, unsigned bit, const Whereabouts& member, std::uint32_t now_ms, ClusterPart& part) {
    ++part.leaves;
    if ((view >> bit & 1) == 0) { ++part.repeated_leaves; }
    if (leave_is_false(member, now_ms)) { ++part.false_leaves; }
    view = static_cast<View>(view & ~(1U << bit));
}

std::string_view list_in(std::string_view frame, std::string_view name, std::string_view next) {
    const std::size_t begin = frame.find(name);
    if (begin == std::string_view::npos) { return {}; }
    const std::size_t end = next.empty() ? std::string_view::npos : frame.find(next, begin);
    return frame.substr(begin, end == std::string_view::npos ? end : end - begin);
}

}  // namespace starling::bench

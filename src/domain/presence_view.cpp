#include "domain/presence_view.h"

#include <algorithm>

namespace starling::domain {

namespace {

// protocol.md section 3: up to 200 members within 20 ms, larger channels within 100 ms. A little less,
// so that the turn that tells it still is in time.
constexpr std::uint64_t kSmall = 200;
constexpr Duration kSmallWindow = 15ms;
constexpr Duration kLargeWindow = 90ms;
// A storm of newcomers inside one window would make as many different frames; then the window ends early.
constexpr std::size_t kGroupsMax = 64;

}  // namespace

void PresenceView::note(const std::string& user, std::optional<Member> before, Instant now) {
    log_.push_back({user, std::move(before)});
    if (!dirty_) { oldest_ = now; }
    dirty_ = true;
}

void PresenceView::on_changed(MembersChanged& changed, Instant now) {
    for (Member& member : changed.joins) {
        const auto [it, fresh] = users_.try_emplace(member.user_id);
        if (!fresh && it->second == member) { continue; }
        std::optional<Member> before;
        if (!fresh) { before = std::move(it->second); }
        it->second = std::move(member);
        note(it->first, std::move(before), now);
    }
    for (Member& member : changed.updates) {
        const auto it = users_.find(member.user_id);
        if (it == users_.end() || it->second.data == member.data) { continue; }
        Member before = it->second;
        it->second.data = std::move(member.data);
        note(it->first, std::move(before), now);
    }
    for (const std::string& user : changed.leaves) {
        const auto it = users_.find(user);
        if (it == users_.end()) { continue; }
        Member before = std::move(it->second);
        users_.erase(it);
        note(user, std::move(before), now);
    }
}

std::vector<Member> PresenceView::members() const { return page({}, SIZE_MAX); }

std::vector<Member> PresenceView::page(std::string_view after, std::size_t limit) const {
    std::vector<Member> out;
    for (auto it = after.empty() ? users_.begin() : users_.upper_bound(after);
         it != users_.end() && out.size() < limit; ++it) {
        out.push_back(it->second);
    }
    return out;
}

std::uint64_t PresenceView::give_count() {
    gave_other_ = gave_other_ || users_.size() != count_told_;
    return users_.size();
}

std::uint64_t PresenceView::snapshot_point() {
    const std::uint64_t point = log_base_ + log_.size();
    if (!log_.empty() && listed_) {
        points_.insert(point);
        if (points_.size() > kGroupsMax) { window_ends_ = Instant{}; }
    }
    return point;
}

codec::native::PresenceDiff PresenceView::diff_since(std::size_t index) const {
    codec::native::PresenceDiff diff;
    std::set<std::string_view> seen;
    for (std::size_t i = index; i < log_.size(); ++i) {
        const Change& change = log_[i];
        if (!seen.insert(change.user_id).second) { continue; }
        const auto it = users_.find(change.user_id);
        const bool here = it != users_.end();
        if (!change.before && here) {
            diff.joins.push_back(it->second);
        } else if (change.before && !here) {
            diff.leaves.push_back(change.user_id);
        } else if (change.before && here && change.before->data != it->second.data) {
            diff.updates.push_back(it->second);
        }
    }
    diff.count = users_.size();
    return diff;
}

PresenceTold PresenceView::tell(Instant now, const PresenceLimits& limits) {
    PresenceTold told;
    told.count = users_.size();
    told.oldest = oldest_;
    const bool differs = told.count != count_told_ || gave_other_;
    told.count_to_counters = differs;
    if (listed_ && told.count > limits.list_limit) {
        listed_ = false;
        told.count_to_lists = true;
    } else if (!listed_ && told.count * 10 <= std::uint64_t{limits.list_limit} * 8) {
        listed_ = true;
        told.list = true;
    } else if (!listed_) {
        told.count_to_lists = differs;
    } else {
        told.groups.push_back({log_base_, diff_since(0)});
        for (const std::uint64_t point : points_) {
            told.groups.push_back({point, diff_since(point - log_base_)});
        }
    }
    clear_log(now, limits);
    return told;
}

void PresenceView::skip(Instant now, const PresenceLimits& limits) {
    if (listed_) {
        listed_ = users_.size() <= limits.list_limit;
    } else {
        listed_ = users_.size() * 10 <= std::uint64_t{limits.list_limit} * 8;
    }
    clear_log(now, limits);
}

void PresenceView::clear_log(Instant now, const PresenceLimits& limits) {
    count_told_ = users_.size();
    gave_other_ = false;
    log_base_ += log_.size();
    log_.clear();
    points_.clear();
    dirty_ = false;
    window_ends_ = now + (!listed_ ? limits.count_interval : count_told_ <= kSmall ? kSmallWindow : kLargeWindow);
}

std::optional<Instant> PresenceView::next_deadline() const {
    if (!dirty_) { return std::nullopt; }
    return window_ends_;
}

}  // namespace starling::domain

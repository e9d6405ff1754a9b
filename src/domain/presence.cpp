#include "domain/presence.h"

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

void Presence::note(const std::string& user, std::optional<Member> before, Instant now) {
    log_.push_back({user, std::move(before)});
    if (!dirty_) { oldest_ = now; }
    dirty_ = true;
}

void Presence::on_enter(std::string_view user, SessionRef holder, std::optional<std::string> data,
                        std::optional<std::string> fallback, Now now, const PresenceLimits& limits) {
    const auto it = users_.find(user);
    if (it == users_.end()) {
        User entry;
        entry.member = {std::string(user), now.wall_ms, data ? std::move(data) : std::move(fallback)};
        entry.holders.push_back(holder);
        users_.emplace(std::string(user), std::move(entry));
        note(std::string(user), std::nullopt, now.instant);
        return;
    }
    if (it->second.holders.empty()) { lingering_.erase({it->second.lingers_until, it->first}); }
    it->second.holders.push_back(holder);
    if (data) { on_update(user, std::move(*data), now, limits); }
}

void Presence::remove(Users::iterator it, Instant now) {
    Member before = std::move(it->second.member);
    const std::string user = it->first;
    users_.erase(it);
    note(user, std::move(before), now);
}

void Presence::on_exit(std::string_view user, SessionRef holder, Departure how, Now now,
                       const PresenceLimits& limits) {
    const auto it = users_.find(user);
    if (it == users_.end()) { return; }
    auto& holders = it->second.holders;
    const auto found = std::find(holders.begin(), holders.end(), holder);
    if (found == holders.end()) { return; }
    holders.erase(found);
    if (!holders.empty()) { return; }
    if (how == Departure::clean || limits.linger == 0s) {
        remove(it, now.instant);
        return;
    }
    it->second.lingers_until = now.instant + limits.linger;
    lingering_.emplace(it->second.lingers_until, it->first);
}

bool Presence::on_update(std::string_view user, std::string data, Now now, const PresenceLimits&) {
    const auto it = users_.find(user);
    if (it == users_.end()) { return false; }
    if (it->second.member.data == data) { return true; }
    Member before = it->second.member;
    it->second.member.data = std::move(data);
    note(it->first, std::move(before), now.instant);
    return true;
}

std::vector<Member> Presence::members() const { return page({}, SIZE_MAX); }

std::vector<Member> Presence::page(std::string_view after, std::size_t limit) const {
    std::vector<Member> out;
    for (auto it = after.empty() ? users_.begin() : users_.upper_bound(after);
         it != users_.end() && out.size() < limit; ++it) {
        out.push_back(it->second.member);
    }
    return out;
}

std::vector<SessionRef> Presence::holders_of(std::string_view user) const {
    const auto it = users_.find(user);
    return it == users_.end() ? std::vector<SessionRef>{} : it->second.holders;
}

std::uint64_t Presence::snapshot_point() {
    const std::uint64_t point = log_base_ + log_.size();
    if (!log_.empty() && listed_) {
        points_.insert(point);
        if (points_.size() > kGroupsMax) { window_ends_ = Instant{}; }
    }
    return point;
}

codec::native::PresenceDiff Presence::diff_since(std::size_t index) const {
    codec::native::PresenceDiff diff;
    std::set<std::string_view> seen;
    for (std::size_t i = index; i < log_.size(); ++i) {
        const Change& change = log_[i];
        if (!seen.insert(change.user_id).second) { continue; }
        const auto it = users_.find(change.user_id);
        const bool here = it != users_.end();
        if (!change.before && here) {
            diff.joins.push_back(it->second.member);
        } else if (change.before && !here) {
            diff.leaves.push_back(change.user_id);
        } else if (change.before && here && change.before->data != it->second.member.data) {
            diff.updates.push_back(it->second.member);
        }
    }
    diff.count = users_.size();
    return diff;
}

PresenceTold Presence::tell(Instant now, const PresenceLimits& limits) {
    PresenceTold told;
    told.count = users_.size();
    told.oldest = oldest_;
    told.count_to_counters = told.count != count_told_;
    if (listed_ && told.count > limits.list_limit) {
        listed_ = false;
        told.count_to_lists = true;
    } else if (!listed_ && told.count * 10 <= std::uint64_t{limits.list_limit} * 8) {
        listed_ = true;
        told.list = true;
    } else if (!listed_) {
        told.count_to_lists = told.count != count_told_;
    } else {
        told.groups.push_back({log_base_, diff_since(0)});
        for (const std::uint64_t point : points_) {
            told.groups.push_back({point, diff_since(point - log_base_)});
        }
    }
    count_told_ = told.count;
    log_base_ += log_.size();
    log_.clear();
    points_.clear();
    dirty_ = false;
    window_ends_ = now + (!listed_ ? limits.count_interval : told.count <= kSmall ? kSmallWindow : kLargeWindow);
    return told;
}

std::optional<Instant> Presence::next_deadline() const {
    std::optional<Instant> first;
    if (dirty_) { first = window_ends_; }
    if (!lingering_.empty() && (!first || lingering_.begin()->first < *first)) {
        first = lingering_.begin()->first;
    }
    return first;
}

void Presence::on_deadline(Now now, const PresenceLimits&) {
    while (!lingering_.empty() && lingering_.begin()->first <= now.instant) {
        const std::string user = lingering_.begin()->second;
        lingering_.erase(lingering_.begin());
        ++timeouts_;
        remove(users_.find(user), now.instant);
    }
}

}  // namespace starling::domain

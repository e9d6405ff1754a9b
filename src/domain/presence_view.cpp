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

Member PresenceView::Row::member() const {
    Member out{std::string(user.view()), connected_at, {}};
    if (data) { out.data = std::string(data.view()); }
    return out;
}

bool PresenceView::Row::same_data(const std::optional<std::string>& other) const {
    return data ? other && data.view() == *other : !other;
}

void PresenceView::Row::set(const Member& member) {
    connected_at = member.connected_at;
    data = member.data ? SharedBytes(*member.data) : SharedBytes();
}

void PresenceView::note(std::string_view user, std::optional<Member> before, Instant now) {
    if (!log_) { log_.need().oldest = now; }
    log_->changes.push_back({std::string(user), std::move(before)});
}

void PresenceView::on_changed(MembersChanged& changed, Instant now) {
    for (const Member& member : changed.joins) {
        Row fresh;
        fresh.user = ShortText(member.user_id);
        const auto [row, added] = users_.add(std::move(fresh));
        if (!added && row->connected_at == member.connected_at && row->same_data(member.data)) { continue; }
        std::optional<Member> before;
        if (added) {
            ++count_;
        } else {
            before = row->member();
        }
        row->set(member);
        note(member.user_id, std::move(before), now);
    }
    for (const Member& member : changed.updates) {
        Row* row = users_.find(member.user_id);
        if (row == nullptr || row->same_data(member.data)) { continue; }
        Member before = row->member();
        row->data = member.data ? SharedBytes(*member.data) : SharedBytes();
        note(member.user_id, std::move(before), now);
    }
    for (const std::string& user : changed.leaves) {
        const Row* row = users_.find(user);
        if (row == nullptr) { continue; }
        Member before = row->member();
        users_.erase(user);
        --count_;
        note(user, std::move(before), now);
    }
}

std::vector<Member> PresenceView::members() const { return page({}, SIZE_MAX); }

std::vector<Member> PresenceView::page(std::string_view after, std::size_t limit) const {
    std::vector<Member> out;
    for (auto it = after.empty() ? users_.begin() : users_.after(after); it != users_.end() && out.size() < limit; ++it) {
        out.push_back(it->member());
    }
    return out;
}

std::uint64_t PresenceView::give_count() {
    gave_other_ = gave_other_ || count_ != count_told_;
    return count_;
}

std::uint64_t PresenceView::snapshot_point() {
    if (!log_) { return log_base_; }
    const std::uint64_t point = log_base_ + log_->changes.size();
    if (listed_) {
        log_->points.insert(point);
        if (log_->points.size() > kGroupsMax) { window_ends_ = Instant{}; }
    }
    return point;
}

codec::native::PresenceDiff PresenceView::diff_since(std::size_t index) const {
    codec::native::PresenceDiff diff;
    std::set<std::string_view> seen;
    for (std::size_t i = index; i < log_->changes.size(); ++i) {
        const Change& change = log_->changes[i];
        if (!seen.insert(change.user_id).second) { continue; }
        const Row* row = users_.find(change.user_id);
        if (!change.before && row != nullptr) {
            diff.joins.push_back(row->member());
        } else if (change.before && row == nullptr) {
            diff.leaves.push_back(change.user_id);
        } else if (change.before && row != nullptr && !row->same_data(change.before->data)) {
            diff.updates.push_back(row->member());
        }
    }
    diff.count = count_;
    return diff;
}

PresenceTold PresenceView::tell(Instant now, const PresenceLimits& limits) {
    PresenceTold told;
    told.count = count_;
    told.oldest = log_->oldest;
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
        for (const std::uint64_t point : log_->points) {
            told.groups.push_back({point, diff_since(point - log_base_)});
        }
    }
    clear_log(now, limits);
    return told;
}

void PresenceView::skip(Instant now, const PresenceLimits& limits) {
    if (listed_) {
        listed_ = count_ <= limits.list_limit;
    } else {
        listed_ = count_ * 10 <= std::uint64_t{limits.list_limit} * 8;
    }
    clear_log(now, limits);
}

void PresenceView::clear_log(Instant now, const PresenceLimits& limits) {
    count_told_ = count_;
    gave_other_ = false;
    if (log_) { log_base_ += log_->changes.size(); }
    log_.reset();
    window_ends_ = now + (!listed_ ? limits.count_interval : count_told_ <= kSmall ? kSmallWindow : kLargeWindow);
}

std::optional<Instant> PresenceView::next_deadline() const {
    if (!log_) { return std::nullopt; }
    return window_ends_;
}

}  // namespace starling::domain

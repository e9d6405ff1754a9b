#include "engine/view.h"

#include <algorithm>

namespace starling::engine {

namespace {

constexpr std::size_t kEpochsMax = 8;

Member member_of(const std::string& user, const Record& record) { return {user, record.connected_at, record.data}; }

}  // namespace

void View::join(const std::string& user, const Record& record, domain::MembersChanged& out) {
    out.joins.push_back(member_of(user, record));
}

void View::update(Entry& entry, const std::string& user, const Record& record, domain::MembersChanged& out) {
    const bool told = entry.shown && entry.record.data != record.data;
    entry.record = record;
    if (told) { out.updates.push_back(member_of(user, record)); }
}

View::Step View::on_delta(const Delta& delta, const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    const bool continues = delta.epoch == position_.epoch && delta.version == position_.version + 1 && delta.before == position_.tag;
    // A channel nobody was in begins anew: nothing can be missing.
    const bool begins = delta.version == 1 && delta.before.empty() && members_.empty() && position_.epoch != delta.epoch;
    if (!continues && !begins && !settings.off.r2) {
        const bool known = delta.epoch == position_.epoch && delta.version <= position_.version;
        return known ? Step::duplicate : Step::broken;
    }
    if (begins) { digest_ = 0; }
    for (const Delta::Op& op : delta.ops) {
        const auto it = members_.find(op.user);
        const auto hash = static_cast<std::int64_t>(op.record.hash);
        if (op.kind == 'L') {
            digest_ -= hash;
            tombstones_[op.user] = now;
            check_at(now + settings.tombstone);
            if (it == members_.end()) { continue; }
            if (it->second.doubted && doubted_until_ && it->second.shown) {
                // R3: a node that held the user, too, may not have said so again since Redis lost its word.
                it->second.in_redis = false;
                it->second.until = doubted_until_;
                check_at(*doubted_until_);
                continue;
            }
            if (it->second.shown) { out.leaves.push_back(op.user); }
            members_.erase(it);
            continue;
        }
        if (op.kind == 'J') { digest_ += hash; }
        if (op.kind == '-' || op.kind == 'c' || op.kind == 'l') { continue; }
        tombstones_.erase(op.user);
        if (it == members_.end()) {
            members_.emplace(op.user, Entry{op.record, true, true, doubts_all_ && doubted_until_, {}});
            join(op.user, op.record, out);
            continue;
        }
        Entry& entry = it->second;
        entry.in_redis = true;
        entry.until.reset();
        if (!entry.shown) {
            entry.shown = true;
            entry.record = op.record;
            join(op.user, op.record, out);
        } else {
            update(entry, op.user, op.record, out);
        }
    }
    follow({delta.epoch, delta.version, delta.tag});
    return Step::applied;
}

void View::follow(ChainPosition position) {
    if (position.epoch != position_.epoch && !position_.epoch.empty()) {
        left_epochs_.push_back(position_.epoch);
        if (left_epochs_.size() > kEpochsMax) { left_epochs_.erase(left_epochs_.begin()); }
    }
    position_ = std::move(position);
}

bool View::was_in(const std::string& epoch) const {
    return epoch == position_.epoch || std::ranges::find(left_epochs_, epoch) != left_epochs_.end();
}

bool View::goes_back(const ChainPosition& to) const {
    if (position_.epoch.empty() || members_.empty()) { return false; }
    if (to.epoch != position_.epoch || to.version < position_.version) { return true; }
    return to.version == position_.version && to.tag != position_.tag;
}

void View::on_loss(Instant since, Instant until) {
    if (!known_since_ || *known_since_ < since) { return; }
    doubts_all_ = true;
    doubted_until_ = std::max(doubted_until_.value_or(until), until);
    check_at(*doubted_until_);
    for (auto& [user, entry] : members_) { entry.doubted = entry.shown; }
}

void View::on_snapshot(Snapshot snapshot, const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    if (!known_since_) { known_since_ = now; }
    const bool suspect = snapshot.suspect && !settings.off.r3;
    if (suspect) {
        doubted_until_ = now + settings.hold();
        check_at(*doubted_until_);
        for (auto& [user, entry] : members_) { entry.doubted = entry.shown; }
    }
    for (auto it = members_.begin(); it != members_.end();) {
        Entry& entry = it->second;
        if (snapshot.members.contains(it->first)) {
            ++it;
            continue;
        }
        if (!entry.in_redis && entry.shown) {        // Held already, or local: its own time ends it.
            ++it;
        } else if (entry.shown && (suspect || (entry.doubted && doubted_until_))) {
            entry.in_redis = false;
            entry.until = suspect ? now + settings.hold() : doubted_until_;
            check_at(*entry.until);
            ++it;
        } else {
            if (entry.shown) { out.leaves.push_back(it->first); }
            it = members_.erase(it);
        }
    }
    for (auto& [user, record] : snapshot.members) {
        const auto it = members_.find(user);
        if (it != members_.end()) {
            Entry& entry = it->second;
            entry.in_redis = true;
            if (entry.shown) {
                entry.until.reset();
                update(entry, user, record, out);
            } else if (!suspect) {
                entry = Entry{record, true, true, false, {}};
                join(user, record, out);
            }
            continue;
        }
        const auto tombstone = tombstones_.find(user);
        const bool removed = tombstone != tombstones_.end() && now < tombstone->second + settings.tombstone;
        // In a world that is new to this view, whoever is in it has been stated since.
        if (suspect && removed && was_in(snapshot.position.epoch) && !settings.off.r4) {
            // Whoever held the user has said by then whether that is so.
            const Instant until = std::min(tombstone->second + settings.tombstone, now + settings.hold());
            members_.emplace(user, Entry{record, true, false, false, until});
            check_at(until);
            continue;
        }
        members_.emplace(user, Entry{record, true, true, false, {}});
        join(user, record, out);
    }
    follow(std::move(snapshot.position));
    digest_ = snapshot.digest;
}

void View::on_discontinuity(const ClusterSettings& settings, Instant now) {
    for (auto& [user, entry] : members_) {
        if (!entry.in_redis && entry.until) { entry.until = now + settings.hold(); }
    }
    if (doubted_until_) { doubted_until_ = now + settings.hold(); }
}

void View::show_local(const std::string& user, Record record, domain::MembersChanged& out) {
    const auto it = members_.find(user);
    if (it != members_.end() && it->second.shown) {
        if (!it->second.in_redis) { it->second.until.reset(); }   // Held, and here: no longer in doubt.
        return;
    }
    if (it != members_.end()) {
        it->second.shown = true;
        it->second.until.reset();
        join(user, it->second.record, out);
        return;
    }
    join(user, record, out);
    members_.emplace(user, Entry{std::move(record), false, true, false, {}});
}

void View::drop_local(const std::string& user, bool exact, domain::MembersChanged& out) {
    const auto it = members_.find(user);
    if (it == members_.end() || it->second.in_redis || it->second.until) { return; }
    if (!exact && it->second.shown) {
        it->second.in_redis = true;
        return;
    }
    if (it->second.shown && doubted_until_) {   // R3: others may not have stated yet whom they hold.
        it->second.until = doubted_until_;
        check_at(*doubted_until_);
        return;
    }
    if (it->second.shown) { out.leaves.push_back(user); }
    members_.erase(it);
}

const Record* View::find(std::string_view user) const {
    const auto it = members_.find(user);
    return it == members_.end() || !it->second.shown ? nullptr : &it->second.record;
}

bool View::in_redis(std::string_view user) const {
    const auto it = members_.find(user);
    return it != members_.end() && it->second.in_redis;
}

domain::MembersChanged View::everything() const {
    domain::MembersChanged out;
    for (const auto& [user, entry] : members_) {
        if (entry.shown) { out.joins.push_back(member_of(user, entry.record)); }
    }
    return out;
}

void View::on_deadline(const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    if (!check_ || now < *check_) { return; }
    check_.reset();
    if (doubted_until_ && now >= *doubted_until_) {
        doubted_until_.reset();
        doubts_all_ = false;
    }
    if (doubted_until_) { check_at(*doubted_until_); }
    for (auto it = members_.begin(); it != members_.end();) {
        Entry& entry = it->second;
        if (!entry.until || now < *entry.until) {
            if (entry.until) { check_at(*entry.until); }
            ++it;
            continue;
        }
        entry.until.reset();
        if (!entry.in_redis) {               // Held long enough: whoever had it would have said so.
            out.leaves.push_back(it->first);
            it = members_.erase(it);
            continue;
        }
        entry.shown = true;                  // Unconfirmed long enough, and Redis still has it.
        join(it->first, entry.record, out);
        ++it;
    }
    std::erase_if(tombstones_, [&](const auto& tombstone) { return now >= tombstone.second + settings.tombstone; });
    for (const auto& [user, removed] : tombstones_) { check_at(removed + settings.tombstone); }
}

}  // namespace starling::engine

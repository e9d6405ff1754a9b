#include "engine/view.h"

#include <algorithm>

namespace starling::engine {

namespace {

constexpr std::size_t kEpochsMax = 8;

}  // namespace

void View::set(Row& row, const Record& record) {
    row.connected_at = record.connected_at;
    row.version = record.version;
    row.data = record.data ? SharedBytes(*record.data) : SharedBytes();
}

View::Row View::row_of(std::string_view user, const Record& record) {
    Row row;
    row.user = ShortText(user);
    set(row, record);
    return row;
}

Member View::member_of(const Row& row) {
    Member member{std::string(row.user.view()), row.connected_at, {}};
    if (row.data) { member.data = std::string(row.data.view()); }
    return member;
}

void View::update(Row& row, const Record& record, domain::MembersChanged& out) {
    const bool same = row.data ? record.data && row.data.view() == *record.data : !record.data;
    set(row, record);
    if (row.shown && !same) { out.updates.push_back(member_of(row)); }
}

void View::hold(Row& row, Instant until) {
    row.timed = true;
    rare().until[std::string(row.user.view())] = until;
    check_at(until);
}

void View::release(Row& row) {
    if (!row.timed) { return; }
    row.timed = false;
    rare().until.erase(rare().until.find(row.user.view()));
}

// R4. Whoever is told as gone, be it by the chain, by a snapshot after a break of it, or because nobody said otherwise for
// the hold time: a failover may have lost that removal.
void View::bury(std::string_view user, const ClusterSettings& settings, Instant now) {
    rare().tombstones[std::string(user)] = now;
    check_at(now + settings.tombstone);
}

void View::trim() {
    if (!has_rare()) { return; }
    const Rare& rare = *known_->rare;
    if (rare.until.empty() && rare.tombstones.empty() && !rare.doubted_until && rare.left_epochs.empty()) { known_->rare.reset(); }
}

View::Step View::on_delta(const Delta& delta, const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    const bool continues = delta.epoch == epoch() && delta.version == version() + 1 && delta.before == known_.peek().tag.view();
    // A channel nobody was in begins anew: nothing can be missing.
    const bool begins = delta.version == 1 && delta.before.empty() && empty() && delta.epoch != epoch();
    if (!continues && !begins && !settings.off.r2) {
        const bool known_already = delta.epoch == epoch() && delta.version <= version();
        return known_already ? Step::duplicate : Step::broken;
    }
    Known& known = known_.need();
    if (begins) { known.digest = 0; }
    for (const Delta::Op& op : delta.ops) {
        Row* row = known.members.find(op.user);
        const auto hash = static_cast<std::int64_t>(op.record.hash);
        if (op.kind == 'L') {
            known.digest -= hash;
            bury(op.user, settings, now);
            if (row == nullptr) { continue; }
            if (row->doubted && doubted_until() && row->shown) {
                // R3: a node that held the user, too, may not have said so again since Redis lost its word.
                row->in_redis = false;
                hold(*row, *doubted_until());
                continue;
            }
            if (row->shown) { out.leaves.push_back(op.user); }
            release(*row);
            known.members.erase(op.user);
            continue;
        }
        if (op.kind == 'J') { known.digest += hash; }
        if (op.kind == '-' || op.kind == 'c' || op.kind == 'l') { continue; }
        if (known.rare) { known.rare->tombstones.erase(op.user); }
        if (row == nullptr) {
            Row fresh = row_of(op.user, op.record);
            fresh.doubted = doubts_newcomers();
            out.joins.push_back(member_of(*known.members.add(std::move(fresh)).first));
            continue;
        }
        row->in_redis = true;
        release(*row);
        if (!row->shown) {
            row->shown = true;
            set(*row, op.record);
            out.joins.push_back(member_of(*row));
        } else {
            update(*row, op.record, out);
        }
    }
    follow({delta.epoch, delta.version, delta.tag});
    return Step::applied;
}

void View::follow(const ChainPosition& position) {
    Known& known = known_.need();
    if (position.epoch != known.epoch.view() && !known.epoch.empty()) {
        auto& left = rare().left_epochs;
        left.emplace_back(known.epoch.view());
        if (left.size() > kEpochsMax) { left.erase(left.begin()); }
    }
    if (position.epoch != known.epoch.view()) { known.epoch = ShortText(position.epoch); }
    known.version = position.version;
    known.tag = ShortText(position.tag);
}

bool View::was_in(std::string_view epoch) const {
    return epoch == this->epoch() || (has_rare() && std::ranges::find(known_->rare->left_epochs, epoch) != known_->rare->left_epochs.end());
}

bool View::goes_back(const ChainPosition& to) const {
    if (epoch().empty() || empty()) { return false; }
    if (to.epoch != epoch() || to.version < version()) { return true; }
    return to.version == version() && to.tag != known_->tag.view();
}

void View::on_loss(Instant since, Instant until) {
    if (known_since_ == Instant::max() || known_since_ < since) { return; }
    rare().doubts_all = true;
    rare().doubted_until = std::max(rare().doubted_until.value_or(until), until);
    check_at(*rare().doubted_until);
    for (Row& row : known_->members) { row.doubted = row.shown; }
}

void View::on_snapshot(Snapshot snapshot, const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    known_since_ = std::min(known_since_, now);
    const bool suspect = snapshot.suspect && !settings.off.r3;
    if (!known_ && !suspect && snapshot.members.empty() && snapshot.position == ChainPosition{} && snapshot.digest == 0) { return; }
    Known& known = known_.need();
    if (suspect) {
        rare().suspected_at = now;
        rare().doubted_until = now + settings.hold();
        check_at(*rare().doubted_until);
        for (Row& row : known.members) { row.doubted = row.shown; }
    }
    known.members.erase_if([&](Row& row) {
        if (snapshot.members.contains(std::string(row.user.view()))) { return false; }
        if (!row.in_redis && row.shown) { return false; }   // Held already, or local: its own time ends it.
        if (row.shown && (suspect || (row.doubted && doubted_until()))) {
            row.in_redis = false;
            hold(row, suspect ? now + settings.hold() : *doubted_until());
            return false;
        }
        if (row.shown) {
            out.leaves.emplace_back(row.user.view());
            bury(row.user.view(), settings, now);
        }
        release(row);
        return true;
    });
    for (auto& [user, record] : snapshot.members) {
        if (Row* row = known.members.find(user)) {
            row->in_redis = true;
            if (row->shown) {
                release(*row);
                update(*row, record, out);
            } else {
                set(*row, record);           // R4: another snapshot of the same data confirms nobody.
            }
            continue;
        }
        Row fresh = row_of(user, record);
        std::optional<Instant> removed;
        if (known.rare) {
            const auto tombstone = known.rare->tombstones.find(user);
            if (tombstone != known.rare->tombstones.end()) { removed = tombstone->second; }
        }
        // In a world that is new to this view, whoever is in it has been stated since.
        if (suspect && removed && now < *removed + settings.tombstone && was_in(snapshot.position.epoch) && !settings.off.r4) {
            // Whoever held the user has said by then whether that is so.
            fresh.shown = false;
            hold(*known.members.add(std::move(fresh)).first, std::min(*removed + settings.tombstone, now + settings.hold()));
            continue;
        }
        out.joins.push_back(member_of(*known.members.add(std::move(fresh)).first));
    }
    follow(snapshot.position);
    known.digest = snapshot.digest;
}

void View::on_discontinuity(const ClusterSettings& settings, Instant now) {
    if (!has_rare()) { return; }
    for (auto& [user, until] : rare().until) {
        if (!row(user)->in_redis) { until = now + settings.hold(); }
    }
    if (rare().doubted_until) { rare().doubted_until = now + settings.hold(); }
}

void View::show_local(const std::string& user, const Record& record, domain::MembersChanged& out) {
    if (Row* row = this->row(user)) {
        if (row->shown) {
            if (!row->in_redis) { release(*row); }   // Held, and here: no longer in doubt.
            return;
        }
        row->shown = true;
        release(*row);
        out.joins.push_back(member_of(*row));
        return;
    }
    Row fresh = row_of(user, record);
    fresh.in_redis = false;
    fresh.doubted = doubts_newcomers();      // Another node may hold the user, too.
    out.joins.push_back(member_of(*known_.need().members.add(std::move(fresh)).first));
}

void View::drop_local(const std::string& user, bool exact, domain::MembersChanged& out) {
    Row* row = this->row(user);
    if (row == nullptr || row->in_redis || row->timed) { return; }
    if (!exact && row->shown) {
        row->in_redis = true;
        return;
    }
    if (row->shown && doubted_until()) {     // R3: others may not have stated yet whom they hold.
        hold(*row, *doubted_until());
        return;
    }
    if (row->shown) { out.leaves.push_back(user); }
    known_->members.erase(user);
}

std::vector<std::string> View::unconfirmed(std::size_t max) const {
    std::vector<std::string> out;
    for (const auto& [user, until] : peek_rare().until) {
        if (out.size() == max) { break; }
        if (!shows(user)) { out.push_back(user); }
    }
    return out;
}

void View::confirm(const std::string& user, domain::MembersChanged& out) {
    Row* row = this->row(user);
    if (row == nullptr || row->shown) { return; }
    row->shown = true;
    release(*row);
    out.joins.push_back(member_of(*row));
}

std::optional<Record> View::find(std::string_view user) const {
    const Row* row = known_.peek().members.find(user);
    if (row == nullptr || !row->shown) { return std::nullopt; }
    Record record{row->connected_at, row->version, {}, 0};
    if (row->data) { record.data = std::string(row->data.view()); }
    return record;
}

bool View::shows(std::string_view user) const {
    const Row* row = known_.peek().members.find(user);
    return row != nullptr && row->shown;
}

bool View::in_redis(std::string_view user) const {
    const Row* row = known_.peek().members.find(user);
    return row != nullptr && row->in_redis;
}

domain::MembersChanged View::everything() const {
    domain::MembersChanged out;
    for (const Row& row : known_.peek().members) {
        if (row.shown) { out.joins.push_back(member_of(row)); }
    }
    return out;
}

void View::on_deadline(const ClusterSettings& settings, Instant now, domain::MembersChanged& out) {
    if (!peek_rare().check || now < *peek_rare().check) { return; }
    Rare& rare = this->rare();
    rare.check.reset();
    if (rare.doubted_until && now >= *rare.doubted_until) {
        rare.doubted_until.reset();
        rare.doubts_all = false;
    }
    if (rare.doubted_until) { check_at(*rare.doubted_until); }
    std::erase_if(rare.until, [&](const auto& timed) {
        if (now < timed.second) {
            check_at(timed.second);
            return false;
        }
        Row& row = *known_->members.find(timed.first);
        row.timed = false;
        if (!row.in_redis) {                 // Held long enough: whoever had it would have said so.
            out.leaves.push_back(timed.first);
            bury(timed.first, settings, now);
            known_->members.erase(timed.first);
        } else {                             // Unconfirmed long enough, and Redis still has it.
            row.shown = true;
            out.joins.push_back(member_of(row));
        }
        return true;
    });
    std::erase_if(rare.tombstones, [&](const auto& tombstone) { return now >= tombstone.second + settings.tombstone; });
    for (const auto& [user, removed] : rare.tombstones) { check_at(removed + settings.tombstone); }
    trim();
}

}  // namespace starling::engine

// What this node contributes to the partition's presence, and how it gets to Redis: one call at a time, each with
// the next operation sequence, sent again until it is answered.

#include <algorithm>

#include "engine/partition.h"
#include "engine/scripts.h"

namespace starling::engine {

namespace {

std::uint64_t serial_of(Instant at) { return static_cast<std::uint64_t>(at.time_since_epoch().count()); }

}  // namespace

void Partition::mark(Channel& channel, std::string_view user) {
    channel.passing.need().dirty.need().emplace(user);
    dirty_channels_.insert(channel.wire());
}

void Partition::on(domain::Enter& call, const std::string& wire) {
    Channel& channel = this->channel(wire, call.channel);
    Own fresh;
    fresh.user = ShortText(call.user_id);
    Own& own = *channel.own.add(std::move(fresh)).first;
    const bool back = own.lingering;
    if (back) { lingers_.erase({own.lingers_until, {wire, call.user_id}}); }
    own.held = true;
    own.lingering = own.linger_due = own.timed_out = false;
    if (own.rare) {
        own.rare->farewell.reset();
        own.rare->lingers_since.reset();
        own.rare->fallback.reset();
    }
    if (own.connected_at == 0) { own.connected_at = now_.wall_ms; }
    if (call.data) {
        own.rare.need().update = std::move(call.data);
        own.rare.need().update_serial = ++update_serial_;
    }
    if (call.fallback) { own.rare.need().fallback = std::move(call.fallback); }
    own.trim();
    owed_.insert({wire, call.user_id});
    if (!own.acked || own.rare.peek().update) { mark(channel, call.user_id); }
    want(channel);
    if (state_ == State::ended) { state_ = State::none; }
    if (entered(channel, call.user_id, own) || !reach_told_) { tell_entered(channel, call.user_id, own); }
    pump();
}

// Redis has the user from here, the view shows it, and no removal is on its way.
bool Partition::entered(const Channel& channel, const std::string& user, const Own& own) const {
    if (!own.held || !own.acked || channel.state != Channel::State::live || !channel.view.in_redis(user)) { return false; }
    return !flight_ || std::ranges::none_of(flight_->groups, [&](const Flight::Group& group) {
        return group.wire == channel.name() && std::ranges::any_of(group.ops, [&](const Op& op) {
            return op.user == user && (op.kind == '-' || op.kind == 'c');
        });
    });
}

void Partition::tell_if_entered(Channel& channel, const std::string& user, Own& own) {
    if (owed_.contains({channel.wire(), user}) && entered(channel, user, own)) { tell_entered(channel, user, own); }
}

void Partition::tell_entered(Channel& channel, const std::string& user, Own& own) {
    owed_.erase({channel.wire(), user});
    if (!own.held) { return; }
    // R13: shown among this node's own clients. R4: who is here needs no other confirmation.
    if (!channel.view.in_redis(user) || !channel.view.shows(user)) {
        domain::MembersChanged changes;
        Record record{own.connected_at, 0, own.rare.peek().update ? own.rare.peek().update : own.rare.peek().fallback, member_hash(channel.name(), user)};
        channel.view.show_local(user, record, changes);
        tell_members(channel, std::move(changes));
    }
    tell(domain::Entered{channel.ref(), user});
}

void Partition::on(domain::Exit& call, const std::string& wire) {
    Channel* channel = find(wire);
    Own* found = channel == nullptr ? nullptr : channel->own.find(call.user_id);
    if (found == nullptr || !found->held) { return; }
    Own& own = *found;
    own.held = false;
    owed_.erase({wire, call.user_id});
    if (call.how == domain::Departure::broken && settings_.linger > 0s) {
        own.lingering = true;
        own.lingers_until = now() + settings_.linger;
        lingers_.insert({own.lingers_until, {wire, call.user_id}});
        if (own.acked) { owe_linger(*channel, own); }
        // R9: who does not answer in doubt was gone when the others gave this node up; nothing is left to linger for.
        if (state_ == State::doubting && !settings_.off.r9) { own.stated = false; }
    } else {
        own.rare.need().farewell = {std::string(channel->view.epoch()), channel->view.version()};
        mark(*channel, call.user_id);
    }
    pump();
}

void Partition::on(domain::Update& call, const std::string& wire) {
    Channel* channel = find(wire);
    Own* own = channel == nullptr ? nullptr : channel->own.find(call.user_id);
    if (own == nullptr || !own->held) { return; }
    own->rare.need().update = std::move(call.data);
    own->rare.need().update_serial = ++update_serial_;
    mark(*channel, call.user_id);
    pump();
}

bool Partition::contributes() const {
    for (const auto& channel : channels_) {
        if (channel && !channel->own.empty()) { return true; }
    }
    return false;
}

void Partition::retire() {
    retired_ = true;
    next_beat_ = std::min(next_beat_, now());
    pump();
}

// Nothing of this user is wanted in Redis, and Redis has nothing.
void Partition::drop(Channel& channel, const std::string& user) {
    const Own* own = channel.own.find(user);
    if (own == nullptr) { return; }
    if (own->lingering) { lingers_.erase({own->lingers_until, {channel.wire(), user}}); }
    // Redis may have it of an incarnation before, which is ended.
    if (own->timed_out && own->stated) { channel.passing.need().timed_out.need().insert(user); }
    channel.own.erase(user);
    if (channel.peek().dirty) { channel.passing->dirty->erase(user); }
    owed_.erase({channel.wire(), user});
    domain::MembersChanged changes;
    // R13: while Redis is out of reach nobody leaves, for who is gone from here may be somewhere else.
    const bool exact = channel.state == Channel::State::live && up_ && reach_told_;
    channel.view.drop_local(user, exact, changes);
    tell_members(channel, std::move(changes));
    if (!exact && channel.state == Channel::State::live) { sync(channel); }
    idle_.insert(channel.wire());
}

// R6: a farewell elsewhere ends this linger only if its node has heard of it.
void Partition::owe_linger(const Channel& channel, Own& own) {
    if (settings_.off.r6 || own.linger_unsaid) { return; }
    own.linger_unsaid = true;
    unsaid_.emplace_back(channel.wire(), own.user.view());
}

// Where nothing else waits, and so many a heartbeat: when thousands are cut off at once they come back at once, and that must
// not wait for word of who lingers. Nobody is told wrong for the want of it; a leave elsewhere may be told as late as this linger ends.
void Partition::say_lingers() {
    while (lingers_to_say_ > 0 && !unsaid_.empty()) {
        const auto [wire, user] = std::move(unsaid_.front());
        unsaid_.pop_front();
        Channel* channel = find(wire);
        Own* own = channel == nullptr ? nullptr : channel->own.find(user);
        if (own != nullptr) { own->linger_unsaid = false; }
        if (own == nullptr || !own->lingering) { continue; }
        own->linger_due = true;
        mark(*channel, user);
        --lingers_to_say_;
    }
}

// R7: nobody leaves while this node may have missed that the user is back elsewhere. One call's worth, and a quarter of one where
// others wait: who comes is told before who goes.
void Partition::run_out_lingers() {
    std::size_t room = flight_ ? 0 : dirty_channels_.empty() ? settings_.operations_max : std::max<std::size_t>(1, settings_.operations_max / 4);
    std::vector<std::pair<Instant, std::pair<std::string, std::string>>> over;
    for (const auto& linger : lingers_) {
        if (linger.first > now()) { break; }
        const Channel* channel = find(linger.second.first);
        // Whom Redis never heard of is not stated any more.
        const bool unsaid = !channel->own.find(linger.second.second)->acked;
        if (!unsaid && blind(*channel) && !settings_.off.r7) { continue; }
        if (!unsaid && room-- == 0) { break; }
        over.push_back(linger);
    }
    for (const auto& linger : over) {
        lingers_.erase(linger);
        Channel& channel = *find(linger.second.first);
        Own& own = *channel.own.find(linger.second.second);
        own.lingering = false;
        own.timed_out = true;
        mark(channel, linger.second.second);
    }
}

// The words of one operation; none where there is nothing to say any more.
std::vector<std::string> Partition::operation(Channel& channel, const std::string& user, Op& op) {
    Own* found = channel.own.find(user);
    if (found == nullptr) { return {}; }
    Own& own = *found;
    if (own.lingering && !own.acked && now() >= own.lingers_until) {
        lingers_.erase({own.lingers_until, {channel.wire(), user}});
        own.lingering = false;
        own.timed_out = true;
    }
    op.user = user;
    op.hash = member_hash(channel.name(), user);
    op.serial = own.rare.peek().update_serial;
    std::string at = std::to_string(own.connected_at);
    std::string version = "0";
    std::string data = "0";
    if ((own.held || (own.lingering && own.stated)) && !own.acked) {   // Whom Redis never heard of is no news when gone.
        op.kind = '+';
        const std::optional<Record> record = channel.view.find(user);
        if (record) { at = std::to_string(record->connected_at); }   // R14.
        if (own.rare.peek().update) {
            data = "1" + *own.rare.peek().update;
        } else if (own.stated && record) {
            version = std::to_string(record->version);
            if (record->data) { data = "1" + *record->data; }
        } else if (own.rare.peek().fallback) {
            data = "f" + *own.rare.peek().fallback;
        }
    } else if (own.wanted() && own.acked && own.rare.peek().update) {
        op.kind = 'u';
        data = "1" + *own.rare.peek().update;
    } else if (own.lingering && own.linger_due) {
        own.linger_due = false;
        op.kind = 'l';
        op.serial = serial_of(own.lingers_until);
    } else if (!own.wanted() && own.acked) {
        const auto& farewell = own.rare.peek().farewell;
        op.kind = farewell ? 'c' : '-';
        if (own.timed_out) { channel.passing.need().timed_out.need().insert(user); }
        own.timed_out = false;
        if (farewell && farewell->first == channel.view.epoch()) { version = std::to_string(farewell->second); }
    } else {
        return {};
    }
    return {std::string(1, op.kind), user, std::to_string(op.hash), std::move(at), std::move(version), std::move(data)};
}

void Partition::pump() {
    if (flight_ || !up_) { return; }
    if (state_ == State::none) {
        if (!retired_ || contributes()) {
            register_lease();
        } else {
            state_ = State::ended;
        }
        return;
    }
    if (state_ != State::live) { return; }
    Flight flight{.kind = Flight::Kind::apply, .token = 0, .iid = iid_, .groups = {}, .args = {}, .sent = {}};
    flight.args = {publish_command(), iid_, std::to_string(oseq_ + 1), retired_ ? "drain" : "live", random_word(), random_word()};
    if (now() >= next_beat_) {
        flight.kind = Flight::Kind::beat;
        lingers_to_say_ = kLingersSaidMax;
    } else {
        run_out_lingers();
        fill(flight);
        if (flight.groups.empty()) {
            say_lingers();
            fill(flight);
        }
        if (flight.groups.empty()) {
            if (!retired_ || contributes() || now() < settled_at_) { return; }
            // The last linger is over: the lease ends with it (R12).
            flight.kind = Flight::Kind::end;
            flight.args = {publish_command(), iid_, "", random_word(), random_word()};
        }
    }
    send(std::move(flight));
}

// What waits, channel after channel, as much as one call may carry: what came while the last one was on its way goes together.
void Partition::fill(Flight& flight) {
    std::size_t count = 0, bytes = 0;
    while (!dirty_channels_.empty() && count < settings_.operations_max && bytes < settings_.operation_bytes_max) {
        // In turns: the first by name, again and again, would keep the last ones waiting for as long as there is work.
        auto next = dirty_channels_.upper_bound(pumped_);
        if (next == dirty_channels_.end()) { next = dirty_channels_.begin(); }
        pumped_ = *next;
        Channel& channel = *find(pumped_);
        Flight::Group group{pumped_, {}};
        std::vector<std::string> args;
        while (!channel.peek().dirty.peek().empty() && count < settings_.operations_max && bytes < settings_.operation_bytes_max) {
            Names& dirty = *channel.passing->dirty;
            const std::string user = std::move(dirty.extract(dirty.begin()).value());
            Op op;
            std::vector<std::string> words = operation(channel, user, op);
            if (words.empty()) {
                const Own* own = channel.own.find(user);
                if (own != nullptr && !own->wanted() && !own->acked) { drop(channel, user); }
                continue;
            }
            ++count;
            for (const auto& word : words) { bytes += word.size(); }
            group.ops.push_back(std::move(op));
            std::move(words.begin(), words.end(), std::back_inserter(args));
        }
        if (channel.peek().dirty.peek().empty()) {
            channel.trim();
            dirty_channels_.erase(pumped_);
        }
        if (group.ops.empty()) { continue; }
        flight.args.push_back(group.wire);
        flight.args.push_back(std::to_string(group.ops.size()));
        std::move(args.begin(), args.end(), std::back_inserter(flight.args));
        flight.groups.push_back(std::move(group));
    }
}

void Partition::send(Flight flight) {
    flight_ = std::move(flight);
    flight_->token = 0;
    if (!up_) { return; }
    flight_->token = (++serial_ << 12) | index_;
    flight_->sent = now();
    const Script& script = flight_->kind == Flight::Kind::reg   ? scripts::reg()
                           : flight_->kind == Flight::Kind::end ? scripts::reap()
                                                                : scripts::apply();
    redis_.eval(flight_->token, index_, script, {base_ + "n"}, flight_->args, now_, out_->actions);
}

void Partition::on_flight(Answered& answer) {
    const auto* value = std::get_if<codec::resp::Value>(&answer.result);
    if (value == nullptr || value->kind != codec::resp::Value::Kind::array || value->elements.empty()) {
        // Done or not: the same sequence again decides it. After on_up, or at the next tick.
        flight_->token = 0;
        return;
    }
    Flight flight = std::move(*flight_);
    flight_.reset();
    if (flight.kind == Flight::Kind::end) {
        last_answer_ = now();
        if (value->elements[0].text == "MORE") {
            send(std::move(flight));
        } else {
            old_.erase(flight.iid);
            state_ = State::ended;
            if (contributes()) { new_incarnation(false); }
        }
        return;
    }
    on_lease_answer(flight, *value);
    pump();
}

void Partition::on_applied(Flight& flight, const codec::resp::Value& value) {
    const auto& positions = value.elements[4].elements;   // Epoch and version of each channel.
    for (std::size_t g = 0; g < flight.groups.size() && 2 * g + 1 < positions.size(); ++g) {
        Channel* channel = find(flight.groups[g].wire);
        if (channel == nullptr) { continue; }
        for (const Op& op : flight.groups[g].ops) {
            Own* found = channel->own.find(op.user);
            if (found == nullptr) { continue; }
            Own& own = *found;
            if (own.rare.peek().update && own.rare.peek().update_serial == op.serial && (op.kind == '+' || op.kind == 'u')) { own.rare.need().update.reset(); }
            if (op.kind == '+') {
                own.acked = own.stated = true;
                digest_ += static_cast<std::int64_t>(op.hash);
                if (own.lingering) { owe_linger(*channel, own); }
            } else if (op.kind == 'l') {
                // Not of a linger that has begun since.
                if (own.lingering && op.serial == serial_of(own.lingers_until)) {
                    own.rare.need().lingers_since = {positions[2 * g].text, static_cast<std::uint64_t>(to_number(positions[2 * g + 1]))};
                }
            } else if (op.kind == '-' || op.kind == 'c') {
                own.acked = false;
                digest_ -= static_cast<std::int64_t>(op.hash);
            }
            own.trim();
            tell_if_entered(*channel, op.user, own);
            mark(*channel, op.user);         // What changed meanwhile; nothing where nothing did.
        }
    }
}

}  // namespace starling::engine

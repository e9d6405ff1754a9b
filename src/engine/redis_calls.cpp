#include <algorithm>

#include "base/check.h"
#include "engine/redis_state.h"

namespace starling::engine {

using codec::resp::Value;

namespace {

constexpr std::uint8_t kHopsMax = 5;
constexpr std::size_t kCallBytes = 128;      // What a call costs beside its words.
constexpr Duration kWantedForRedirect = 10s;

// Refused before anything was done. Inside a script these come only at its first write.
bool refused(std::string_view code) {
    for (const std::string_view known : {"LOADING", "BUSY", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF",
                                         "NOREPLICAS", "NOAUTH"}) {
        if (code == known) { return true; }
    }
    return false;
}

}  // namespace

void Redis::State::use(std::uint32_t index, Turn& turn) {
    PartitionState& partition = partitions[index];
    if (partition.used) { return; }
    partition.used = true;
    if (partition.owner == nullptr) { return; }
    ++partition.owner->partitions;
    settle(turn);
}

// Not only in its first attempt: calls need not wait for it.
bool Redis::State::out_of_reach(const Server& server) const {
    if (server.ready) { return false; }
    const Link* link = link_of(server.commands);
    return server.commands.failing_since || (link != nullptr && !link->leaving.empty());
}

void Redis::State::call(std::uint32_t index, Call made, Turn& turn) {
    PartitionState& partition = partitions[index];
    made.made = turn.now.instant;
    made.bytes = kCallBytes;
    for (const std::string& word : made.words) { made.bytes += word.size(); }
    use(index, turn);
    const Server* owner = partition.owner;
    std::string reason;
    if (pending_bytes + made.bytes > settings.queue_bytes_max) {
        reason = "queue full";
    } else if (owner != nullptr && out_of_reach(*owner)) {
        reason = owner->address + ": out of reach";
    } else if (owner == nullptr && map_known) {
        reason = "no server has slot " + std::to_string(slot_of(partition.tag));
    }
    if (!reason.empty()) {
        if (made.token != 0) { events.push_back(Answered{made.token, CallFailed{false, reason}}); }
        return;
    }
    pending_bytes += made.bytes;
    ++partition.waiting;
    ++waiting;
    partition.calls.push_back(std::move(made));
    // The common case: nothing before it waits.
    if (partition.waiting == 1) {
        write_call(partition, partition.calls.size() - 1, turn);
    }
}

// Only if it keeps the order: those before it are written already, and to the same server.
bool Redis::State::write_call(PartitionState& partition, std::size_t index, Turn& turn) {
    Call& made = partition.calls[index];
    if (made.not_before && turn.now.instant < *made.not_before) { return false; }
    Server* target = made.ask != nullptr ? made.ask : partition.owner;
    Link* link = target != nullptr ? ready_link(target->commands) : nullptr;
    if (link == nullptr || (made.ask == nullptr && !target->ready)) { return false; }
    for (std::size_t i = 0; (partition.mixed || partition.link != link->id) && partition.written > 0 && i < index; ++i) {
        const Call& before = partition.calls[i];
        if (before.state == Call::State::written && before.link != link->id) { return false; }
    }
    if (made.ask != nullptr) {
        write(*link, {"ASKING"}, turn);
        expect(*link, Expected::Kind::ignored, 0, turn);
    }
    if (made.publish) { made.words[0] = target->sharded ? "SPUBLISH" : "PUBLISH"; }
    // The first use on a link carries the text, so that those behind it find the script.
    if (made.words[0] == "EVALSHA" && (made.full_text || !link->scripts.contains(made.words[1]))) {
        const std::string sha = made.words[1];
        const std::string& text = scripts.find(sha)->second;
        link->scripts.insert(sha);
        made.words[0] = "EVAL";
        made.words[1] = text;
        write(*link, made.words, turn);
        made.words[0] = "EVALSHA";
        made.words[1] = sha;
    } else {
        write(*link, made.words, turn);
    }
    expect(*link, Expected::Kind::call, partition.first + index, turn,
           static_cast<std::uint32_t>(&partition - partitions.data()));
    made.state = Call::State::written;
    made.link = link->id;
    partition.mixed = partition.written > 0 && (partition.mixed || partition.link != link->id);
    partition.link = link->id;
    --partition.waiting;
    --waiting;
    ++partition.written;
    return true;
}

void Redis::State::write_calls(std::uint32_t index, Turn& turn) {
    PartitionState& partition = partitions[index];
    for (std::size_t i = 0; partition.waiting > 0 && i < partition.calls.size(); ++i) {
        if (partition.calls[i].state == Call::State::waiting && !write_call(partition, i, turn)) { return; }
    }
}

void Redis::State::finish(PartitionState& partition, Call& made, std::variant<Value, CallFailed> result) {
    if (made.state == Call::State::waiting) {
        --partition.waiting;
        --waiting;
    }
    if (made.state == Call::State::written) { --partition.written; }
    made.state = Call::State::done;
    made.result = std::move(result);
}

void Redis::State::wait_again(PartitionState& partition, Call& made) {
    CHECK(made.state == Call::State::written);
    made.state = Call::State::waiting;
    --partition.written;
    ++partition.waiting;
    ++waiting;
}

void Redis::State::release(PartitionState& partition) {
    while (!partition.calls.empty() && partition.calls.front().state == Call::State::done) {
        Call& made = partition.calls.front();
        pending_bytes -= made.bytes;
        if (made.token != 0) { events.push_back(Answered{made.token, std::move(made.result)}); }
        partition.calls.pop_front();
        ++partition.first;
    }
}

void Redis::State::fail_waiting(PartitionState& partition, const Server* target, const std::string& reason) {
    for (Call& made : partition.calls) {
        if (made.state != Call::State::waiting) { continue; }
        if ((made.ask != nullptr ? made.ask : partition.owner) == target) { finish(partition, made, CallFailed{false, reason}); }
    }
}

void Redis::State::expire_calls(std::uint32_t index, Turn& turn) {
    PartitionState& partition = partitions[index];
    for (Call& made : partition.calls) {
        if (made.state == Call::State::waiting && made.made + patience() <= turn.now.instant) {
            finish(partition, made, CallFailed{false, "no server took it in time"});
        }
    }
    release(partition);
    write_calls(index, turn);
}

void Redis::State::update_up(std::uint32_t index) {
    PartitionState& partition = partitions[index];
    if (!partition.mine) { return; }
    const bool now_up = partition.owner != nullptr && partition.owner->ready;
    if (now_up && (!partition.up || partition.up_server != partition.owner->run)) {
        partition.up_server = partition.owner->run;
        events.push_back(PartitionUp{index, partition.up_server});
    } else if (!now_up && partition.up) {
        events.push_back(PartitionDown{index});
    }
    partition.up = now_up;
}

void Redis::State::on_call_reply(Link& link, const Expected& expected, Value reply, Turn& turn) {
    PartitionState& partition = partitions[expected.partition];
    Call& made = partition.calls[expected.number - partition.first];
    const std::string_view code = reply.kind == Value::Kind::error ? error_code(reply.text) : std::string_view{};
    if (code == "MOVED" || code == "ASK") {
        Server* target = redirect_target(link, reply.text);
        if (target == nullptr || !clustered() || ++made.hops > kHopsMax) {
            finish(partition, made, CallFailed{false, "too many redirects: " + reply.text});
        } else {
            wait_again(partition, made);
            made.ask = code == "ASK" ? target : nullptr;
            target->wanted_until = turn.now.instant + kWantedForRedirect + 2 * patience();
            if (code == "MOVED") {
                set_owner(expected.partition, target, turn);
                want_map(turn.now.instant, target);
            }
        }
    } else if (code == "TRYAGAIN") {
        wait_again(partition, made);
        made.not_before = turn.now.instant + 20ms + Duration(rng.below(80'000'000));
    } else if (code == "NOSCRIPT" && !made.full_text && made.words[0] == "EVALSHA") {
        wait_again(partition, made);
        made.full_text = true;
    } else if (refused(code)) {
        if (clustered()) { want_map(turn.now.instant); }
        if (code == "READONLY" || code == "NOAUTH") { leave(link, reply.text, turn); }
        finish(partition, made, CallFailed{false, std::move(reply.text)});
    } else {
        finish(partition, made, std::move(reply));
    }
    release(partition);
    if (partition.waiting > 0) { write_calls(expected.partition, turn); }
}

}  // namespace starling::engine

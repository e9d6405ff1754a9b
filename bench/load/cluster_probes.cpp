// What is timed while everything is open: leaves and joins, typing, messages. A probe is one member of one room;
// the nine others are awaited before it goes on.

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "load/cluster_clients.h"

namespace starling::bench {

namespace {

constexpr std::size_t kProbesAtOnce = 4;
constexpr std::uint64_t kProbePatienceNs = 5'000'000'000;
// Above the window in which a node gathers changes of one channel: each change is timed alone.
constexpr std::uint64_t kProbePauseNs = 60'000'000;

std::string typing_frame(std::uint32_t room, bool active) {
    return fmt::format(R"({{"type":"typing","channel":"room-{}","active":{}}})", room, active);
}

}  // namespace

std::string publish_all_frame(std::string_view data) {
    return fmt::format(R"({{"type":"publish","channel":"all","data":{}}})", data);
}

void ClusterClients::begin_probes() {
    const std::uint32_t rooms = share_.count / kRoomSize;
    probes_.assign(std::min<std::size_t>(kProbesAtOnce, rooms), {});
    probes_left_ = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(std::uint64_t{options_.samples} * share_.count / options_.connections));
    probes_begun_ = 0;
}

void ClusterClients::drive_probes() {
    const std::uint64_t now = monotonic_ns();
    for (Probe& probe : probes_) {
        if (probe.stage == Probe::Stage::idle) {
            if (probes_left_ > 0 && now - probe.said_ns > kProbePauseNs) { next_probe(probe); }
        } else if (probe.stage == Probe::Stage::pause) {
            if (now - probe.said_ns > kProbePauseNs) { say_second(probe); }
        } else if (now - probe.said_ns > kProbePatienceNs) {
            part_.unseen += static_cast<unsigned>(std::popcount(probe.awaited));
            probe.awaited = 0;
            advance(probe);
        }
    }
}

View ClusterClients::others_of(std::uint32_t slot) const {
    unsigned others = 0;
    for (unsigned bit = 0; bit < kRoomSize; ++bit) {
        const std::uint32_t other = peer(slot, bit);
        if (other != slot && clients_[other].state == State::ready) { others |= 1U << bit; }
    }
    return static_cast<View>(others);
}

void ClusterClients::next_probe(Probe& probe) {
    const std::uint32_t rooms = share_.count / kRoomSize;
    // Far apart, so that every part of the process's rooms is asked; two probes are never in one room at a time.
    const auto lane = static_cast<std::uint32_t>(&probe - probes_.data());
    const auto lanes = static_cast<std::uint32_t>(probes_.size());
    const std::uint32_t mine = (rooms - lane + lanes - 1) / lanes;
    const std::uint32_t room = lane + (probes_begun_ * 7919U % mine) * lanes;
    const std::uint32_t slot = room * kRoomSize + probes_begun_ % kRoomSize;
    --probes_left_;
    ++probes_begun_;
    Client& client = clients_[slot];
    if (client.state != State::ready) { return; }
    probe = {.stage = Probe::Stage::first, .room = room, .member = slot, .awaited = others_of(slot), .said_ns = monotonic_ns()};
    part_.samples += 2 * static_cast<unsigned>(std::popcount(probe.awaited));
    if (step_ == Step::typing) { return say(client, masked_frame(typing_frame(room_of(slot), true))); }
    client.place.farewell = true;
    client.place.present = client.place.confirmed = false;
    client.place.since_ms = now_ms_;
    client.view = 0;
    say(client, masked_frame(fmt::format(R"({{"type":"unsubscribe","id":3,"channel":"room-{}"}})", room_of(slot))));
}

void ClusterClients::advance(Probe& probe) {
    if (probe.awaited != 0) { return; }
    probe.said_ns = monotonic_ns();
    probe.stage = probe.stage == Probe::Stage::first ? Probe::Stage::pause : Probe::Stage::idle;
}

void ClusterClients::say_second(Probe& probe) {
    probe.stage = Probe::Stage::second;
    probe.awaited = others_of(probe.member);
    probe.said_ns = monotonic_ns();
    Client& client = clients_[probe.member];
    if (step_ == Step::typing) { return say(client, masked_frame(typing_frame(room_of(probe.member), false))); }
    client.place.present = true;
    say(client, subscription(probe.member));
}

void ClusterClients::saw(std::uint32_t slot, std::uint32_t user, bool first_kind) {
    const std::uint32_t member = user - share_.first;
    for (Probe& probe : probes_) {
        const bool fits = probe.stage == (first_kind ? Probe::Stage::first : Probe::Stage::second);
        if (!fits || probe.member != member) { continue; }
        const unsigned bit = slot % kRoomSize;
        if ((probe.awaited >> bit & 1) == 0) { return; }
        const std::uint64_t took = monotonic_ns() - probe.said_ns;
        const bool same = clients_[member].node == clients_[slot].node;
        if (step_ == Step::joins && first_kind && !same) { part_.leave_other.add(took); }
        if (step_ == Step::joins && !first_kind) { (same ? part_.join_same : part_.join_other).add(took); }
        if (step_ == Step::typing && first_kind) { (same ? part_.typing_same : part_.typing_other).add(took); }
        probe.awaited = static_cast<View>(probe.awaited & ~(1U << bit));
        return advance(probe);
    }
}

// Each room has one publisher, so its order is known; rooms take turns, and so do the nodes.
void ClusterClients::publish_due() {
    const std::uint32_t rooms = share_.count / kRoomSize;
    const double passed = static_cast<double>(monotonic_ns() - began_ns_) / 1e9;
    const double rate = options_.rate * share_.count / options_.connections;
    const std::uint64_t due = std::min(to_publish_, static_cast<std::uint64_t>(passed * rate));
    static const std::string padding(60, 'x');
    for (; said_ < due; ++said_) {
        const auto room = static_cast<std::uint32_t>(said_ % rooms);
        const std::uint32_t number = share_.first / kRoomSize + room;
        const std::uint32_t slot = room * kRoomSize + number % kRoomSize;
        const std::string data = stamp_json({number, ++sequences_[room], monotonic_ns()}, padding);
        say(clients_[slot], masked_frame(publish_frame(number, data)));
        part_.published.fetch_add(1, std::memory_order_relaxed);
    }
}

void ClusterClients::publish_to_all() {
    const std::uint32_t number = board_.value.load(std::memory_order_relaxed);
    say(clients_[0], masked_frame(publish_all_frame(stamp_json({kAllRoom, number, monotonic_ns()}, ""))));
}

}  // namespace starling::bench

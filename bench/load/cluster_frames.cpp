// What a client hears, judged at once: views of presence, order of messages, positions to come back to.

#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

#include "load/cluster_clients.h"

namespace starling::bench {

namespace {

// The text after `"name":"`, up to the quote; the values that are asked for need no escapes.
std::string_view text_field(std::string_view frame, std::string_view mark) {
    const std::size_t at = frame.find(mark);
    if (at == std::string_view::npos) { return {}; }
    const std::size_t begin = at + mark.size();
    return frame.substr(begin, frame.find('"', begin) - begin);
}

std::uint64_t number_field(std::string_view frame, std::string_view mark) {
    const std::size_t at = frame.find(mark);
    std::uint64_t value = 0;
    if (at != std::string_view::npos) { std::from_chars(frame.data() + at + mark.size(), frame.data() + frame.size(), value); }
    return value;
}

}  // namespace

void ClusterClients::on_text(std::uint32_t slot, std::string_view text) {
    constexpr std::string_view kBegin = R"({"type":")";
    Client& client = clients_[slot];
    if (!text.starts_with(kBegin)) { return; }
    const std::string_view type = text.substr(kBegin.size(), text.find('"', kBegin.size()) - kBegin.size());
    if (type == "message") { return on_message(client, slot, text, true); }
    if (type == "presence.join" || type == "presence.leave" || type == "typing.start" || type == "typing.stop") {
        each_user(text, [&](std::uint32_t user) { on_user(slot, user, type); });
    } else if (type == "presence.diff") {
        each_user(list_in(text, R"("joins":)", R"("updates":)"), [&](std::uint32_t user) { on_user(slot, user, "presence.join"); });
        each_user(list_in(text, R"("leaves":)", ""), [&](std::uint32_t user) { on_user(slot, user, "presence.leave"); });
    } else if (type == "subscribed") {
        on_subscribed(slot, text);
    } else if (type == "connected") {
        part_.resumed += text.find(R"("resumed":true)") != std::string_view::npos ? 1 : 0;
        if (options_.apart) { return; }      // Nobody comes back there, and a million tokens are not for nothing.
        if (!client.kept) { client.kept = std::make_unique<Kept>(); }
        client.kept->resume = text_field(text, R"("resume":")");
    } else if (type == "unsubscribed") {
        // The answer to a farewell is asked for; any other is followed by a fresh start, as the contract has it.
        if (client.place.farewell) { return; }
        if (++part_.unsubscribed <= 3) { fmt::print(stderr, "{}\n", text); }
        client.view = 0;
        client.sequence = 0;
        client.place.since_ms = now_ms_;
        client.place.confirmed = false;
        if (client.kept) { client.kept->epoch.clear(); }
        say(client, subscription(slot));
    } else if (type == "error") {
        if (++part_.errors <= 3) { fmt::print(stderr, "{}\n", text); }
        if (client.state != State::ready) { end(slot, false, 1000); }
    }
}

void ClusterClients::on_subscribed(std::uint32_t slot, std::string_view text) {
    Client& client = clients_[slot];
    if (text.find(R"("channel":"all")") == std::string_view::npos) {
        if (text.find(R"("recovered":true)") != std::string_view::npos) { ++part_.recovered; }
        if (text.find(R"("recovered":false)") != std::string_view::npos) { ++part_.not_recovered; }
        const std::size_t presence = text.find(R"("presence":{)");
        // Missed messages come before the list of who is here.
        const std::string_view before = text.substr(0, presence);
        constexpr std::string_view kStamp = R"("b":")";
        for (std::size_t at = before.find(kStamp); at != std::string_view::npos; at = before.find(kStamp, at + 1)) {
            on_message(client, slot, before.substr(at), false);
        }
        note_position(client, text);
        if (options_.presence) {
            const std::string_view list = presence == std::string_view::npos ? std::string_view() : text.substr(presence);
            View view = 0;
            bool odd = false;
            const std::uint32_t users = each_user(list, [&](std::uint32_t user) {
                odd |= user / kRoomSize != room_of(slot);
                view = static_cast<View>(view | 1U << user % kRoomSize);
            });
            const unsigned own = slot % kRoomSize;
            if (odd || users != number_field(list, R"("count":)") || (view >> own & 1) == 0) { ++part_.odd_snapshots; }
            client.view = view;
        }
        client.typing = 0;
        if (client.place.since_ms != 0) { client.place.absence_ms = now_ms_ - client.place.since_ms; }
        client.place.farewell = false;
        client.place.confirmed = true;
    }
    if (client.state != State::subscribing || --client.waiting > 0) { return; }
    client.state = State::ready;
    client.tries = 0;
    --pending_;
    part_.open.fetch_add(1, std::memory_order_relaxed);
}

void ClusterClients::note_position(Client& client, std::string_view text) {
    if (options_.history == 0 || !client.kept) { return; }
    const std::string_view position = list_in(text, R"("position":{)", "}");
    if (position.empty()) { return; }
    client.kept->epoch = text_field(position, R"("epoch":")");
    client.kept->offset = number_field(position, R"("offset":)");
    client.kept->id = text_field(position, R"("id":")");
}

void ClusterClients::on_message(Client& client, std::uint32_t slot, std::string_view text, bool live) {
    const auto stamp = find_stamp(text);
    if (!stamp) { return; }
    if (stamp->room == kAllRoom) {
        part_.all_last_ns.store(monotonic_ns(), std::memory_order_relaxed);
        part_.all_received.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    // The fields after `data` are the message's own.
    const std::size_t padding = text.find(R"("x":")");
    if (live && options_.history != 0 && client.kept && padding != std::string_view::npos) {
        const std::string_view after = text.substr(padding);
        client.kept->id = text_field(after, R"("id":")");
        client.kept->offset = number_field(after, R"("offset":)");
    }
    if (stamp->room == kMissedRoom) {
        const auto bit = static_cast<std::uint16_t>(1U << stamp->sequence % 16);
        ++((client.missed & bit) != 0 ? part_.missed_repeated : part_.missed_received);
        client.missed |= bit;
        return;
    }
    if (live) {
        const std::uint64_t took = monotonic_ns() - stamp->sent_ns;
        const Client& publisher = clients_[peer(slot, stamp->room % kRoomSize)];
        (publisher.node == client.node ? part_.message_same : part_.message_other).add(took);
        part_.received.fetch_add(1, std::memory_order_relaxed);
    }
    if (stamp->sequence <= client.sequence) {
        ++part_.repeated;
        return;
    }
    part_.lost += stamp->sequence - client.sequence - 1;
    client.sequence = static_cast<std::uint32_t>(stamp->sequence);
}

void ClusterClients::on_user(std::uint32_t slot, std::uint32_t user, std::string_view kind) {
    Client& client = clients_[slot];
    if (user / kRoomSize != room_of(slot)) {
        ++part_.errors;
        return;
    }
    const unsigned bit = user % kRoomSize;
    const Whereabouts& member = clients_[peer(slot, bit)].place;
    if (kind == "presence.join") {
        see_join(client.view, bit, member, now_ms_, part_);
        if (step_ == Step::joins) { saw(slot, user, false); }
    } else if (kind == "presence.leave") {
        see_leave(client.view, bit, member, now_ms_, part_);
        if (step_ == Step::joins) { saw(slot, user, true); }
    } else if (kind == "typing.start" || kind == "typing.stop") {
        if (step_ == Step::typing) { saw(slot, user, kind == "typing.start"); }
    }
}

}  // namespace starling::bench

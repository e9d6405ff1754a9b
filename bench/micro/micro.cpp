// The hot paths without a kernel: a shard with the memory engine, and the codec. Instructions for each
// round are steady where times are not, so a budget can hold them (tests/budget/).
// usage: starling_micro SCENARIO ROUNDS

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "codec/websocket.h"
#include "domain/mail.h"
#include "domain/shard.h"
#include "engine/memory.h"
#include "net/frame_queue.h"

namespace starling::bench {

namespace {

using namespace domain;
namespace ws = codec::websocket;

class Node {
 public:
    Node() : shard_({.node_id = "node", .address = "", .version = "", .index = 0, .count = 1, .seed = 1}, settings(), now_),
             engine_(5s, 2) {}

    SessionId open(const std::string& user) {
        const SessionId session = shard_.on_open({}, now_, effects_);
        say(session, R"({"type":"connect","user":")" + user + "\"}");
        return session;
    }
    void say(SessionId session, std::string_view text) {
        shard_.on_text(session, text, now_, effects_);
        perform();
    }
    void close(SessionId session) {
        shard_.on_closed(session, 1000, now_, effects_);
        perform();
    }
    std::size_t sent() const { return sent_; }
    void pass(Duration duration) {
        now_.instant += duration;
        now_.wall_ms += duration / 1ms;
        engine::Output told;
        engine_.on_deadline(now_, told);
        for (auto& event : told.events) { shard_.on_engine(event, now_, effects_); }
        shard_.on_deadline(now_, effects_);
        perform();
    }

 private:
    static std::shared_ptr<Settings> settings() {
        auto out = std::make_shared<Settings>();
        out->development = true;
        out->partitions = 32;
        out->frames_per_second = out->frames_burst = 1e6;
        out->resume_secret = std::string(32, 's');
        AppSettings app;
        app.namespaces.push_back({.name = "", .allow = kAllRights});
        out->apps.push_back(std::move(app));
        return out;
    }

    void perform() {
        Effects batch;
        while (!effects_.empty()) {
            batch.swap(effects_);
            for (Effect& effect : batch) {
                if (auto* fanout = std::get_if<Fanout>(&effect)) {
                    sent_ += fanout->sessions.size();
                } else if (std::holds_alternative<Send>(effect)) {
                    ++sent_;
                } else if (auto* mail = std::get_if<MailTo>(&effect)) {
                    shard_.on_mail(*mail->mail, now_, effects_);
                } else if (auto* ask = std::get_if<AskEngine>(&effect)) {
                    engine::Output told;
                    engine_.on_call(*ask->call, now_, told);
                    for (auto& event : told.events) { shard_.on_engine(event, now_, effects_); }
                }
            }
            batch.clear();
        }
    }

    Now now_{Instant{} + 1h, 1'700'000'000'000};
    Shard shard_;
    engine::Memory engine_;
    Effects effects_;
    std::size_t sent_ = 0;
};

std::string publish_text(std::size_t i) {
    return R"({"type":"publish","channel":"room","data":{"n":)" + std::to_string(i) + R"(,"text":")" + std::string(60, 'x') + "\"}}";
}

// A message to a room of 1,000: from the publisher's text to the list of those who get it.
std::size_t fanout(std::size_t rounds) {
    Node node;
    SessionId last;
    for (int i = 0; i < 1000; ++i) {
        last = node.open("user-" + std::to_string(i));
        node.say(last, R"({"type":"subscribe","channel":"room","watch":"none"})");
    }
    for (std::size_t i = 0; i < rounds; ++i) { node.say(last, publish_text(i)); }
    return node.sent();
}

// Connect, subscribe, leave.
std::size_t session(std::size_t rounds) {
    Node node;
    for (std::size_t i = 0; i < rounds; ++i) {
        const SessionId id = node.open("user-" + std::to_string(i % 1000));
        node.say(id, R"({"type":"subscribe","channel":"room","watch":"none"})");
        node.close(id);
        if (i % 100 == 99) { node.pass(200s); }
    }
    return node.sent();
}

// A client's frame of 150 bytes: header, unmasking, UTF-8.
std::size_t frame(std::size_t rounds) {
    const std::string bytes = ws::encode_masked({.payload = publish_text(1), .mask = 0x01020304});
    std::size_t seen = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        std::string copy = bytes;
        ws::Reader reader;
        seen += reader.next(copy, {}).payload.size();
    }
    return seen;
}

// One frame through the queues of 1,000 connections.
std::size_t queue(std::size_t rounds) {
    net::FrameQueue::Pool pool;
    std::vector<net::FrameQueue> queues(1000);
    const SharedBytes bytes(ByteView("a frame of a few bytes"));
    std::size_t parts_seen = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        for (auto& each : queues) { each.push(bytes, pool); }
        for (auto& each : queues) {
            iovec parts[8];
            parts_seen += static_cast<std::size_t>(each.fill(parts, 8));
            each.drop(bytes.size(), pool);
        }
    }
    return parts_seen;
}

}  // namespace

}  // namespace starling::bench

int main(int count, char** words) {
    using namespace starling::bench;
    std::size_t rounds = 0;
    if (count == 3) { std::from_chars(words[2], words[2] + std::string_view(words[2]).size(), rounds); }
    const std::string_view name = count > 1 ? words[1] : "";
    std::size_t (*const scenario)(std::size_t) = name == "fanout"    ? fanout
                                                 : name == "session" ? session
                                                 : name == "frame"   ? frame
                                                 : name == "queue"   ? queue
                                                                     : nullptr;
    if (scenario == nullptr || rounds == 0) {
        std::fputs("usage: starling_micro fanout|session|frame|queue ROUNDS\n", stderr);
        return 2;
    }
    std::printf("%zu\n", scenario(rounds));
    return 0;
}

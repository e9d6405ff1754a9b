#include "micro/scenarios.h"

#include <array>
#include <span>
#include <string>
#include <vector>

#include "codec/native.h"
#include "codec/resp.h"
#include "codec/websocket.h"
#include "domain/mail.h"
#include "domain/presence_view.h"
#include "domain/shard.h"
#include "engine/memory.h"
#include "engine/view.h"
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

class FanOut : public Scenario {
 public:
    FanOut() {
        for (int i = 0; i < 1000; ++i) {
            last_ = node_.open("user-" + std::to_string(i));
            node_.say(last_, R"({"type":"subscribe","channel":"room","watch":"none"})");
        }
    }
    std::size_t round() override {
        node_.say(last_, publish_text(rounds_++));
        return node_.sent();
    }

 private:
    Node node_;
    SessionId last_;
    std::size_t rounds_ = 0;
};

class Session : public Scenario {
 public:
    std::size_t round() override {
        const SessionId id = node_.open("user-" + std::to_string(rounds_ % 1000));
        node_.say(id, R"({"type":"subscribe","channel":"room","watch":"none"})");
        node_.close(id);
        if (rounds_++ % 100 == 99) { node_.pass(200s); }
        return node_.sent();
    }

 private:
    Node node_;
    std::size_t rounds_ = 0;
};

class Frame : public Scenario {
 public:
    explicit Frame(std::size_t size) : bytes_(ws::encode_masked({.payload = std::string(size, 'x'), .mask = 0x01020304})) {}
    std::size_t round() override {
        copy_ = bytes_;                      // Unmasking writes into the input.
        ws::Reader reader;
        return reader.next(copy_, {}).payload.size();
    }

 private:
    std::string bytes_, copy_;
};

class Framing : public Scenario {
 public:
    std::size_t round() override { return ws::encode_frame(ws::Opcode::text, payload_).size(); }

 private:
    std::string payload_ = publish_text(1);
};

class Queue : public Scenario {
 public:
    std::size_t round() override {
        const std::span queues(queues_);
        const SharedBytes bytes = bytes_;
        std::size_t parts_seen = 0;
        for (auto& each : queues) { each.push(bytes, pool_); }
        for (auto& each : queues) {
            iovec parts[8];
            parts_seen += static_cast<std::size_t>(each.fill(parts, 8));
            each.drop(bytes.size(), pool_);
        }
        return parts_seen;
    }

 private:
    net::FrameQueue::Pool pool_;
    std::vector<net::FrameQueue> queues_ = std::vector<net::FrameQueue>(1000);
    SharedBytes bytes_{ByteView("a frame of a few bytes")};
};

class Decode : public Scenario {
 public:
    std::size_t round() override { return codec::native::decode(text_, limits_).has_value() ? 1 : 0; }

 private:
    std::string text_ = publish_text(1);
    codec::native::Limits limits_;
};

class Encode : public Scenario {
 public:
    std::size_t round() override { return codec::native::encode_message("room", message_).size(); }

 private:
    Message message_{.id = "0123456789ab", .offset = 17, .event = {}, .data = R"({"text":")" + std::string(60, 'x') + "\"}",
                     .user_id = "user-1", .conflate_key = {}, .time = 1'700'000'000'000};
};

// What Redis tells of a channel of 1,000 users: one leaves and comes back; and what the subscribers are told of it.
class Presence : public Scenario {
 public:
    Presence() {
        for (int i = 0; i < 1000; ++i) { step('J', "user-" + std::to_string(i)); }
        view_.tell(now_, limits_);
    }
    std::size_t round() override {
        const std::string user = "user-" + std::to_string(version_ % 997);
        step('L', user);
        step('J', user);
        now_ += 1s;
        return view_.due(now_) ? view_.tell(now_, limits_).groups.size() : 0;
    }

 private:
    void step(char kind, const std::string& user) {
        const std::uint64_t next = version_ + 1;
        engine::Delta delta{.epoch = "e", .version = next, .before = version_ == 0 ? "" : "t" + std::to_string(version_),
                            .tag = "t" + std::to_string(next), .iid = "n.1", .ops = {}};
        delta.ops.push_back({kind, user, {1, next, {}, engine::member_hash("room", user)}});
        version_ = next;
        MembersChanged changed;
        truth_.on_delta(delta, settings_, now_, changed);
        view_.on_changed(changed, now_);
    }

    engine::ClusterSettings settings_;
    engine::View truth_;
    PresenceView view_;
    PresenceLimits limits_{.list_limit = 2000, .count_interval = 250ms};
    Instant now_ = Instant{} + 1h;
    std::uint64_t version_ = 0;
};

// A message of a channel, as Redis tells a subscriber of it.
class Resp : public Scenario {
 public:
    Resp() {
        const std::string data = publish_text(1);
        bytes_ = "*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$" + std::to_string(data.size()) + "\r\n" + data + "\r\n";
    }
    std::size_t round() override {
        reader_.feed(bytes_);
        const auto value = reader_.next();
        return value && *value ? (*value)->elements.size() : 0;
    }

 private:
    codec::resp::Reader reader_;
    std::string bytes_;
};

template <typename Type, auto... arguments>
std::unique_ptr<Scenario> make() { return std::make_unique<Type>(arguments...); }

constexpr std::array kNames{
    Named{"fanout", "a message to a room of 1,000: from the publisher's text to the list of those who get it", make<FanOut>},
    Named{"session", "connect, subscribe, leave", make<Session>},
    Named{"frame", "a client's frame of 150 bytes: header, unmasking, UTF-8", make<Frame, 150UL>},
    Named{"frame-16k", "a client's frame of 16 KB", make<Frame, 16384UL>},
    Named{"framing", "a frame of 150 bytes for clients", make<Framing>},
    Named{"queue", "one frame through the queues of 1,000 connections", make<Queue>},
    Named{"decode", "the JSON of a publish of 120 bytes", make<Decode>},
    Named{"encode", "a message of 70 bytes as JSON for clients", make<Encode>},
    Named{"presence", "one of 1,000 users leaves and comes back: merged, and told", make<Presence>},
    Named{"resp", "a message from Redis, decoded", make<Resp>},
};

}  // namespace

std::span<const Named> scenarios() { return kNames; }

}  // namespace starling::bench

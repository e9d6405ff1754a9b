#pragma once
// One shard against an engine whose every answer the test gives. For tests.

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "domain/mail.h"
#include "domain/shard.h"

namespace starling::domain {

inline const ChannelRef kDoc{0, "doc:1"};
inline const Position kTop{"e", 4, "d"};

inline std::shared_ptr<Settings> home_settings() {
    auto out = std::make_shared<Settings>();
    out->development = true;
    out->resume_secret = std::string(32, 's');
    AppSettings app;
    app.namespaces.push_back({.name = "", .allow = kAllRights, .history_size = 5});
    out->apps.push_back(std::move(app));
    return out;
}

class HomeWorld {
 public:
    struct Client {
        SessionId session;
        std::vector<std::string> frames;
        std::optional<std::uint16_t> closed;
        int probes = 0;
        bool held = false;
    };
    explicit HomeWorld(std::shared_ptr<Settings> with = home_settings())
        : shard_({.node_id = "node", .address = "", .version = "", .index = 0, .count = 1, .seed = 1}, std::move(with), now()) {}

    Now now() const { return {Instant{} + 1h + time_, 1000000 + time_ / 1ms}; }
    Client& open(const std::string& user) {
        Client& client = connect(R"("user":")" + user + '"');
        client.frames.clear();
        return client;
    }
    // With these fields of `connect`.
    Client& connect(const std::string& fields) {
        Effects out;
        Client& client = clients_.emplace_back();
        client.session = shard_.on_open({}, now(), out);
        take(out);
        say(client, R"({"type":"connect",)" + fields + "}");
        return client;
    }
    void say(Client& client, const std::string& text) {
        Effects out;
        shard_.on_text(client.session, text, now(), out);
        take(out);
    }
    void cut(Client& client, std::uint16_t code = 1006) {
        Effects out;
        shard_.on_closed(client.session, code, now(), out);
        take(out);
    }
    void alive(Client& client) {
        Effects out;
        shard_.on_alive(client.session, now(), out);
        take(out);
    }
    void reload(std::shared_ptr<Settings> with) {
        Effects out;
        shard_.on_settings(std::move(with), now(), out);
        take(out);
    }
    void tell(EngineEvent event) {
        Effects out;
        shard_.on_engine(event, now(), out);
        take(out);
    }
    void ask(codec::backend::Request request) {
        Effects out;
        shard_.on_backend(1, 0, std::move(request), now(), out);
        take(out);
    }
    void pass(Duration duration) {
        const Duration end = time_ + duration;
        while (const auto next = shard_.next_deadline()) {
            if (*next > Instant{} + 1h + end) { break; }
            time_ = std::max(time_, *next - (Instant{} + 1h));
            Effects out;
            shard_.on_deadline(now(), out);
            take(out);
        }
        time_ = end;
    }
    std::vector<std::string> heard(Client& client) { return std::exchange(client.frames, {}); }
    // The calls of one kind since the last look at any.
    template <typename Call>
    std::vector<Call> asked() {
        std::vector<Call> out;
        for (auto& call : calls_) {
            if (auto* one = std::get_if<Call>(&call)) { out.push_back(std::move(*one)); }
        }
        calls_.clear();
        return out;
    }
    // Where the first call of this kind stands among those since the last look.
    template <typename Call>
    std::ptrdiff_t order() const {
        return std::find_if(calls_.begin(), calls_.end(), [](const EngineCall& call) { return std::holds_alternative<Call>(call); }) -
               calls_.begin();
    }
    void listening(std::optional<Position> top = kTop, bool stale = false) { tell(Listening{kDoc, std::move(top), stale}); }
    void joins(const std::string& user) {
        MembersChanged changed{.channel = kDoc};
        changed.joins.push_back({user, 1, {}});
        tell(std::move(changed));
    }
    void entered(const std::string& user) {
        joins(user);
        tell(Entered{kDoc, user});
    }
    void delivered(std::uint64_t offset, std::string id) {
        Message message;
        message.id = std::move(id);
        message.offset = offset;
        message.data = "1";
        tell(Delivered{kDoc, std::move(message), ""});
    }

    std::vector<codec::backend::Reply> replies;

 private:
    void take(Effects& effects) {
        std::deque<Effect> queue(std::make_move_iterator(effects.begin()), std::make_move_iterator(effects.end()));
        while (!queue.empty()) {
            Effect effect = std::move(queue.front());
            queue.pop_front();
            Effects more;
            if (auto* mail = std::get_if<MailTo>(&effect)) {
                shard_.on_mail(*mail->mail, now(), more);
            } else if (auto* send = std::get_if<Send>(&effect)) {
                frame(send->session, send->text);
            } else if (auto* fanout = std::get_if<Fanout>(&effect)) {
                for (const SessionId session : fanout->sessions) { frame(session, fanout->text); }
            } else if (auto* reply = std::get_if<BackendReply>(&effect)) {
                replies.push_back(std::move(reply->reply));
            } else if (auto* close = std::get_if<Close>(&effect)) {
                for (auto& client : clients_) {
                    if (client.session == close->session) { client.closed = close->code; }
                }
            } else if (auto* hold = std::get_if<HoldInput>(&effect)) {
                for (auto& client : clients_) {
                    if (client.session == hold->session) { client.held = hold->hold; }
                }
            } else if (auto* probe = std::get_if<Probe>(&effect)) {
                for (auto& client : clients_) { client.probes += client.session == probe->session; }
            } else if (auto* call = std::get_if<AskEngine>(&effect)) {
                answer_user(*call->call, more);
            }
            for (auto& next : more) { queue.push_back(std::move(next)); }
        }
    }
    // Users' own channels are answered at once: they are not what these tests are about.
    void answer_user(EngineCall& call, Effects& out) {
        std::optional<EngineEvent> event;
        if (auto* listen = std::get_if<Listen>(&call); listen != nullptr && listen->channel.name[0] == '@') {
            event = Listening{listen->channel, Position{"u", 0, ""}, false};
        } else if (auto* read = std::get_if<Read>(&call); read != nullptr && read->channel.name[0] == '@') {
            ReadAnswer answer{.call = read->call, .result = ReadResult{}};
            answer.result->top = Position{"u", 0, ""};
            event = std::move(answer);
        }
        if (event) {
            shard_.on_engine(*event, now(), out);
        } else {
            calls_.push_back(std::move(call));
        }
    }
    void frame(SessionId session, const SharedBytes& text) {
        for (auto& client : clients_) {
            if (client.session == session) { client.frames.emplace_back(text.view()); }
        }
    }

    Duration time_ = 0s;
    Shard shard_;
    std::deque<Client> clients_;
    std::vector<EngineCall> calls_;
};

}  // namespace starling::domain
